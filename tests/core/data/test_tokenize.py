"""Token ids by fastokens are those of the tokenizer itself, for kinds of tokenizers and texts of all sorts."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from plugtune.data.tokenize import LONGEST, MANY, PLAIN, PROBES, TextTokenizer
from plugtune.errors import RunError
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    *PROBES,
    *(f"Sentence {n} of a text about models, data and training, don't you think? 第{n}句。" for n in range(99)),
]
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ("<|im_start|>", "<|im_end|>")


def _bytes_bpe(split: Any) -> Tokenizer:
    """As GPT-2's (its own split) or Qwen's (a regular expression)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=list(SPECIAL), initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens([AddedToken("plugtune", normalized=False)])
    return tokenizer


def gpt2() -> Tokenizer:
    return _bytes_bpe(pre_tokenizers.ByteLevel(add_prefix_space=False))


def qwen() -> Tokenizer:
    split = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    tokenizer = _bytes_bpe(pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)]))
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def llama() -> Tokenizer:
    """As LLaMA's: words with a mark, bytes for unknown characters, a first token."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=900, special_tokens=names))
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if not token["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(state))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(TEXTS, trainers.UnigramTrainer(vocab_size=300, unk_token="<unk>"))
    return tokenizer


def plain_of(tokenizer: Tokenizer, special: bool = False) -> Callable[[Sequence[str]], list[list[int]]]:
    return lambda texts: [tokenizer.encode(text, add_special_tokens=special).ids for text in texts]


def odd_texts(count: int) -> list[str]:
    """Pieces of everything: other scripts, joined emoji, marks, line ends, special tokens in the middle."""
    draw = random.Random(5)
    letters = [
        *map(chr, range(32, 127)),
        *"\n\r\t  é😀👩‍👩‍👧中文。\u00a0\u3000\u200b\u2028'’½Ⅷ\ufeff\u0301ñßİıﬁＡ０киالعहिไท한",
        *SPECIAL,
        "plugtune",
    ]
    wild = [range(32, 0x3000), range(0x3000, 0xD800), range(0xE000, 0x20000)]
    return [
        "".join(draw.choice(letters) if draw.random() < 0.8 else chr(draw.choice(draw.choice(wild))) for _ in range(n))
        for n in (draw.choice((1, 2, 3, 5, 8, 20, 60)) for _ in range(count))
    ]


@pytest.mark.parametrize("make", [gpt2, qwen, llama])
@pytest.mark.parametrize("special", [False, True])
def test_ids_are_those_of_the_tokenizer(make: Callable[[], Tokenizer], special: bool) -> None:
    tokenizer = make()
    fast = TextTokenizer(tokenizer, plain_of(tokenizer, special), special=special)
    fast.expect_many()
    assert fast._fast is not None, "fastokens is installed with plugtune and reads these tokenizers"
    texts = [*TEXTS, *odd_texts(3000), ""]
    for start in range(0, len(texts), 100):
        some = texts[start : start + 100]
        assert fast(some) == [tokenizer.encode(text, add_special_tokens=special).ids for text in some]


def test_a_tokenizer_that_fastokens_cannot_read_is_used_itself() -> None:
    tokenizer = unigram()
    texts = TextTokenizer(tokenizer, plain_of(tokenizer))
    texts.expect_many()
    assert texts._fast is None
    assert texts(["a text"]) == [tokenizer.encode("a text").ids]


def test_a_tokenizer_that_gives_other_ids_on_trial_is_used_itself() -> None:
    tokenizer = gpt2()
    texts = TextTokenizer(tokenizer, lambda some: [[7, *ids] for ids in plain_of(tokenizer)(some)])
    texts.expect_many()
    assert texts(["a text"]) == [[7, *tokenizer.encode("a text").ids]]


def test_a_difference_that_shows_later_stops_with_the_text() -> None:
    """Not a silent wrong id: texts are compared for as long as rows are prepared."""
    tokenizer = gpt2()
    odd = "the text that is different"
    texts = TextTokenizer(tokenizer, lambda some: [[1] if t == odd else tokenizer.encode(t).ids for t in some])
    texts.expect_many()
    with pytest.raises(RunError, match=odd) as raised:
        texts(["word"] * 127 + [odd])
    assert PLAIN in str(raised.value)


def test_a_character_without_a_token_is_left_to_the_tokenizer() -> None:
    """SmolLM2's vocabulary lacks some control characters: its tokenizer leaves them out."""
    state = json.loads(gpt2().to_str())
    words = state["model"]["vocab"]
    words["<unused>"] = words.pop("Ĕ")  # byte 0x14
    tokenizer = Tokenizer.from_str(json.dumps(state))
    texts = TextTokenizer(tokenizer, plain_of(tokenizer))
    texts.expect_many()
    assert texts._fast is not None
    assert texts(["a", "b\x14c"]) == [tokenizer.encode("a").ids, tokenizer.encode("b\x14c").ids]


def test_long_texts_keep_their_places() -> None:
    tokenizer = gpt2()
    asked: list[str] = []

    def plain(some: Sequence[str]) -> list[list[int]]:
        asked.extend(some)
        return plain_of(tokenizer)(some)

    texts = TextTokenizer(tokenizer, plain)
    texts.expect_many()
    asked.clear()
    long, other = "ab " * LONGEST, "x" * (LONGEST + 1)
    some = ["one", long, "two", other, "three"]
    assert texts(some) == plain_of(tokenizer)(some)
    assert asked == [long, other]


def test_a_batch_of_nothing_but_long_texts() -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=gpt2())
    texts = TextTokenizer(tokenizer.backend_tokenizer, lambda some: tokenizer(list(some))["input_ids"])
    texts.expect_many()
    assert texts._fast is not None
    long = ["ab " * LONGEST, "x" * (LONGEST + 1)]
    assert texts(long) == [tokenizer.encode(text) for text in long]
    assert texts([]) == []


def test_it_is_read_when_much_text_has_passed_and_not_for_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = gpt2()
    texts = TextTokenizer(tokenizer, plain_of(tokenizer))
    texts(["a short text"])
    assert texts._fast is None
    texts(["word " * (MANY // 5 + 1)])
    assert texts._fast is not None
    monkeypatch.setenv(PLAIN, "1")
    asked = TextTokenizer(tokenizer, plain_of(tokenizer))
    asked.expect_many()
    assert asked._fast is None


def _child(texts: TextTokenizer, some: list[str], answers: Any) -> None:
    answers.put(texts(some))


def test_it_works_in_a_forked_process_after_it_worked_in_the_first() -> None:
    tokenizer = qwen()
    texts = TextTokenizer(tokenizer, plain_of(tokenizer))
    texts.expect_many()
    some = [text * 20 for text in TEXTS]
    truth = texts(some)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=_child, args=(texts, some, answers))
    process.start()
    assert answers.get(timeout=60) == truth
    process.join(60)


class _Plain:
    """A plain tokenizer that can travel to a spawned process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        return plain_of(Tokenizer.from_file(str(self.path)))(texts)


def test_it_travels_to_a_spawned_process_and_is_read_again_there(tmp_path: Path) -> None:
    gpt2().save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    texts = TextTokenizer(tokenizer, _Plain(tmp_path / "tokenizer.json"))
    texts.expect_many()
    there = pickle.loads(pickle.dumps(texts))
    assert there._fast is None
    assert there(TEXTS) == texts(TEXTS)
    assert there._fast is not None

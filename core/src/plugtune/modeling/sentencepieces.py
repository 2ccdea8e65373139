"""From a SentencePiece BPE model file to a fast tokenizer, if that gives the same ids; else one over SentencePiece.

SentencePiece merges the best-scored pair first and, of equal scores, the leftmost; tokenizers merges by rank. Where
many pieces share a score the two differ, so a fast tokenizer is made only when scores tell pieces apart, and kept only
when it agrees with SentencePiece on texts of many kinds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NORMAL, CONTROL, DEFINED = 1, 3, 4
"""Kinds of pieces in sentencepiece_model.proto (unknown 2, unused 5, byte 6)."""

MARK = "\U0010ffff\U0010fffe"
"""Stands behind special tokens while a text is put together; both are no characters by Unicode's definition."""

MOST_TIED = 0.1
"""Share of the pieces that may have one and the same score."""

TEXTS = (
    "Hello, world! It's 3.14159 or 1,000,000?", "你好，世界！保持健康的三个提示：多喝水、早睡觉。",
    "def f(x):\n    return  {'a': x ** 2}\n\n\t# done\n", "  two  leading   and trailing  ", "\n\n\n", " ", "a",
    "Привет, мир — naïve café, ﬁne ½ ①", "emoji 🙂🚀👩‍👩‍👧 漢字かな交じり文 한국어", "混合 mixed 文本 123abc中文",
    "<html><body class=\"x\">&nbsp;</body></html>", "aaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbb", "http://x.y/z?q=1&r=%20",
    "\u3000全角　空白", "e\u0301 combining", "x\u00a0y\u200bz", "ＦＵＬＬ ｗｉｄｔｈ", "1 234 567 890",
)  # fmt: skip
"""Languages, code, spaces, numbers, marks and rare characters on which a conversion is compared."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a family adds to its vocabulary file.

    Attributes:
        added: tokens behind the SentencePiece vocabulary, in order.
        renamed: id → the name under which an existing piece is a special token.
        special: names of existing pieces that are special tokens.
        words: those of `added` that are special only as whole words.
        prefix: names put before a text when special tokens are asked for.
        bos, eos, pad, unk: special tokens by role; an empty one is not set.
    """

    added: Sequence[str] = ()
    renamed: Mapping[int, str] = field(default_factory=dict)
    special: Sequence[str] = ()
    words: Sequence[str] = ()
    prefix: Sequence[str] = ()
    bos: str = ""
    eos: str = "</s>"
    pad: str = ""
    unk: str = "<unk>"
    padding_side: str = "left"


def load_pieces(file: Path, recipe: Recipe) -> Any:
    """A transformers tokenizer for the model file: fast where that is the same, else over SentencePiece."""
    import sentencepiece

    proto = _proto(file)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(file))
    fast = _fast(proto, recipe)
    if fast is not None and all(_same(fast, processor, text) for text in TEXTS):
        return fast
    return _slow(file, recipe)


def _proto(file: Path) -> Any:
    from importlib import import_module

    proto = import_module("sentencepiece.sentencepiece_model_pb2").ModelProto()
    proto.ParseFromString(file.read_bytes())
    return proto


def _same(fast: Any, processor: Any, text: str) -> bool:
    return bool(fast.encode(text, add_special_tokens=False) == processor.encode(text))


def _fast(proto: Any, recipe: Recipe) -> Any | None:
    """A fast tokenizer; `None` when scores do not order the merges, or the model is of another kind."""
    from tokenizers import Regex, Tokenizer, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces, rules = proto.pieces, proto.normalizer_spec
    scores = Counter(piece.score for piece in pieces if piece.type == NORMAL)
    bpe = proto.trainer_spec.model_type == 2
    if not bpe or (scores and max(scores.values()) > MOST_TIED * len(pieces) and len(pieces) > 1000):
        return None
    vocabulary = {recipe.renamed.get(n, piece.piece): n for n, piece in enumerate(pieces)}
    vocabulary |= {name: len(pieces) + n for n, name in enumerate(recipe.added)}
    backend = Tokenizer(
        models.BPE(
            vocabulary, _merges(pieces), unk_token=recipe.unk, fuse_unk=True,
            byte_fallback=proto.trainer_spec.byte_fallback,
        )
    )  # fmt: skip
    steps: list[Any] = []
    if rules.precompiled_charsmap:
        steps.append(normalizers.Precompiled(rules.precompiled_charsmap))
    if rules.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    if rules.add_dummy_prefix:
        steps.append(normalizers.Prepend("▁"))
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    backend.decoder = _decoder(_special(proto, recipe) if rules.add_dummy_prefix else [])
    if recipe.prefix:
        names = list(recipe.prefix)
        backend.post_processor = processors.TemplateProcessing(
            single=[*names, "$A"], pair=[*names, "$A", "$B"], special_tokens=[(n, vocabulary[n]) for n in names]
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **_settings(recipe))
    _add_tokens(tokenizer, proto, recipe)
    return tokenizer


def _decoder(special: Sequence[str]) -> Any:
    """Pieces to text; the space that a text and each part behind one of the special tokens opens with is taken away."""
    from tokenizers import Regex, decoders

    parts: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if not special:
        return decoders.Sequence(parts)
    # A decoder sees one token at a time until they are fused: there each special token gets a mark at its end.
    ends = "|".join(rf"\A{re.escape(name)}" for name in special)
    marking = decoders.Replace(Regex(rf"(?<={ends})\z"), MARK)
    taking = decoders.Replace(Regex(f"{MARK} ?"), "")
    return decoders.Sequence([marking, *parts, taking, decoders.Strip(" ", 1, 0)])


def _merges(pieces: Any) -> list[tuple[str, str]]:
    """Pairs that make a piece, best piece first; pairs of one piece by the ids of their parts."""
    ids = {piece.piece: n for n, piece in enumerate(pieces) if piece.type == NORMAL}
    ranked = sorted((n for n in ids.values()), key=lambda n: -pieces[n].score)
    merges: list[tuple[str, str]] = []
    for n in ranked:
        text = pieces[n].piece
        pairs = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
        known = [pair for pair in pairs if pair[0] in ids and pair[1] in ids]
        merges += sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]]))
    return merges


def _settings(recipe: Recipe) -> dict[str, Any]:
    roles = {"bos_token": recipe.bos, "eos_token": recipe.eos, "pad_token": recipe.pad, "unk_token": recipe.unk}
    return {
        **{role: name for role, name in roles.items() if name}, "clean_up_tokenization_spaces": False,
        "padding_side": recipe.padding_side, "model_input_names": ["input_ids", "attention_mask"],
    }  # fmt: skip


def _special(proto: Any, recipe: Recipe) -> list[str]:
    """Names of the special tokens, each once."""
    control = [piece.piece for piece in proto.pieces if piece.type == CONTROL]
    return list(dict.fromkeys([*recipe.special, *recipe.renamed.values(), *recipe.added, *control]))


def _add_tokens(tokenizer: Any, proto: Any, recipe: Recipe) -> None:
    """Special tokens; and, where no prefix is added to texts, the pieces that SentencePiece itself never splits."""
    from transformers import AddedToken

    known = {piece.piece: piece for piece in proto.pieces}
    special = _special(proto, recipe)
    tokens = [AddedToken(name, normalized=False, special=True, single_word=name in recipe.words) for name in special]
    tokenizer.add_tokens(tokens, special_tokens=True)
    if proto.normalizer_spec.add_dummy_prefix:
        return
    plain = [name for name, piece in known.items() if piece.type == DEFINED and name not in special]
    tokenizer.add_tokens([AddedToken(name, normalized=False, special=False) for name in plain])


def _slow(file: Path, recipe: Recipe) -> Any:
    from plugtune.modeling.slow_pieces import PiecesTokenizer

    tokenizer = PiecesTokenizer(vocab_file=str(file), **_settings(recipe))
    special = [*recipe.special, *recipe.renamed.values(), *recipe.added]
    tokenizer.add_tokens(list(dict.fromkeys(special)), special_tokens=True)
    return tokenizer


def piece_names(file: Path) -> set[str]:
    """Every piece of a model file."""
    return {piece.piece for piece in _proto(file).pieces}

"""The tokenizer as GGUF holds it: tokens, kinds, merges, special ids, chat template."""

from __future__ import annotations

import json
from typing import Any

from plugtune import RequestError

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of tokens in GGUF."""

PATTERNS = (
    ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|", "llama-bpe"),
    ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|", "qwen2"),
)
"""Beginning of a splitting pattern → the name llama.cpp knows it by."""


def check_tokenizer(tokenizer: Any) -> None:
    """Refuse tokenizers that GGUF has no form for here.

    Raises:
        RequestError: it is no byte-level BPE of the tokenizers library.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str())["model"] if backend is not None else {}
    if model.get("type") != "BPE":
        raise RequestError("this tokenizer cannot be written as GGUF here", where="exporter",
                           why=f"it is {model.get('type') or 'not of the tokenizers library'}, not BPE")  # fmt: skip


def write_vocabulary(writer: Any, tokenizer: Any, size: int) -> None:
    """Everything about the tokenizer; the vocabulary is filled up to `size`, the rows of the embeddings."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    model = state["model"]
    added = {item["id"]: item for item in state["added_tokens"]}
    by_id = {number: text for text, number in model["vocab"].items()}
    by_id |= {number: item["content"] for number, item in added.items()}
    tokens, kinds = [], []
    for number in range(size):
        text = by_id.get(number)
        tokens.append(f"[PAD{number}]" if text is None else text)
        kinds.append(_kind(text, added.get(number), bool(model.get("byte_fallback"))))
    sentencepiece = bool(model.get("byte_fallback"))
    writer.add_tokenizer_model("llama" if sentencepiece else "gpt2")
    writer.add_tokenizer_pre("default" if sentencepiece else _pre(state))
    writer.add_token_list(tokens)
    if sentencepiece:
        # BPE knows no scores; SentencePiece merges by them, and an earlier merge has a lower id.
        writer.add_token_scores([-float(number) for number in range(size)])
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in model["merges"]])
    for name in ("bos", "eos", "unk", "pad"):
        value = getattr(tokenizer, f"{name}_token_id")
        # A token that the embeddings have no row for can never be computed.
        if value is not None and value < size:
            getattr(writer, f"add_{name}_token_id")(int(value))
    writer.add_add_bos_token(_adds_bos(tokenizer))
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, str):
        writer.add_chat_template(template)


def _kind(text: str | None, added: dict[str, Any] | None, bytes_are_tokens: bool) -> int:
    if text is None:
        return UNUSED
    if added is not None:
        return CONTROL if added["special"] else USER
    if bytes_are_tokens and len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        return BYTE
    return NORMAL


def _pre(state: dict[str, Any]) -> str:
    """The name of the splitting rule; llama.cpp refuses models whose rule it does not know."""
    steps = state.get("pre_tokenizer") or {}
    parts = steps.get("pretokenizers", [steps])
    for part in parts:
        pattern = (part.get("pattern") or {}).get("Regex", "") if part.get("type") == "Split" else ""
        for beginning, name in PATTERNS:
            if pattern.startswith(beginning):
                return name
    return "smollm" if any(part.get("type") == "Digits" for part in parts) else "gpt-2"


def _adds_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return bool(ids) and tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id

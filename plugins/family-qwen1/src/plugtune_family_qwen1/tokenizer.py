"""Qwen's tokenizer from `qwen.tiktoken`: byte-level BPE whose merges are recovered from the ranks.

A token's merge is what BPE makes of its bytes with the tokens of lower ranks alone: the last two parts. Facts:
tokenization_qwen.py and tokenization_note.md of https://github.com/QwenLM/Qwen.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{n}|>" for n in range(205)))


def load(folder: Path) -> Any:
    """The tokenizer; `None` where a converted one is stored already."""
    file = folder / "qwen.tiktoken"
    if (folder / "tokenizer.json").is_file() or not file.is_file():
        return None
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import AddedToken, PreTrainedTokenizerFast

    ranks = read_ranks(file)
    letters = byte_letters()
    written = {token: "".join(letters[byte] for byte in token) for token in ranks}
    vocabulary = {text: ranks[token] for token, text in written.items()}
    merges = [(written[left], written[right]) for left, right in recover_merges(ranks)]
    backend = Tokenizer(models.BPE(vocabulary, merges))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=SPECIAL[0], pad_token=SPECIAL[0], clean_up_tokenization_spaces=False,
        padding_side="left",
    )  # fmt: skip


def read_ranks(file: Path) -> dict[bytes, int]:
    """Token → rank, from lines of base64 and number."""
    lines = (line.split() for line in file.read_bytes().splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def recover_merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The pair of which each token of more than a byte is made, in order of rank."""
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            parts = _parts(token, ranks, rank)
            if len(parts) == 2:
                merges.append((parts[0], parts[1]))
    return merges


def _parts(token: bytes, ranks: dict[bytes, int], below: int) -> list[bytes]:
    """What BPE leaves of a token's bytes when only tokens of lower ranks may be made."""
    parts = [token[n : n + 1] for n in range(len(token))]
    while len(parts) > 2:
        found = [(ranks.get(parts[n] + parts[n + 1], below), n) for n in range(len(parts) - 1)]
        rank, place = min(found)
        if rank >= below:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


def byte_letters() -> dict[int, str]:
    """The printable letter that byte-level BPE writes for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}

"""Yuan2's tokenizer from `tokenizer.model`; its special tokens are pieces of the vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SPECIAL = (
    "<eod>", "<sep>", "<pad>", "<mask>", "<predict>", "<FIM_SUFFIX>", "<FIM_PREFIX>", "<FIM_MIDDLE>",
    "<commit_before>", "<commit_msg>", "<commit_after>", "<jupyter_start>", "<jupyter_text>", "<jupyter_code>",
    "<jupyter_output>", "<empty_output>",
)  # fmt: skip


def load(folder: Path) -> Any:
    """The tokenizer; `None` where a converted one is stored already."""
    from plugtune.modeling.sentencepieces import Recipe, load_pieces, piece_names

    file = folder / "tokenizer.model"
    if (folder / "tokenizer.json").is_file() or not file.is_file():
        return None
    known = piece_names(file)
    special = [name for name in SPECIAL if name in known]
    return load_pieces(file, Recipe(special=special, eos="<eod>", pad="<pad>" if "<pad>" in known else "<eod>"))

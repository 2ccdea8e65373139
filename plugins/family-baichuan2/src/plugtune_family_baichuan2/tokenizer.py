"""Baichuan2's and Baichuan's tokenizer from `tokenizer.model`; the roles of a chat are reserved pieces of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROLES = ("<reserved_102>", "<reserved_103>", "<reserved_106>", "<reserved_107>")


def load(folder: Path) -> Any:
    """The tokenizer; `None` where a converted one is stored already."""
    from plugtune.modeling.sentencepieces import Recipe, load_pieces, piece_names

    file = folder / "tokenizer.model"
    if (folder / "tokenizer.json").is_file() or not file.is_file():
        return None
    known = piece_names(file)
    recipe = Recipe(special=[name for name in ROLES if name in known], bos="<s>", pad="<unk>")
    return load_pieces(file, recipe)

"""InternLM2's tokenizer from `tokenizer.model`; chat models rename unused pieces in tokenizer_config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load(folder: Path) -> Any:
    """The tokenizer; `None` where a converted one is stored already."""
    from plugtune.modeling.sentencepieces import Recipe, load_pieces

    file, settings = folder / "tokenizer.model", folder / "tokenizer_config.json"
    if (folder / "tokenizer.json").is_file() or not file.is_file():
        return None
    values = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    renamed = {int(n): token["content"] for n, token in (values.get("added_tokens_decoder") or {}).items()}
    tokenizer = load_pieces(file, Recipe(renamed=renamed, prefix=("<s>",), bos="<s>", pad="</s>"))
    if values.get("chat_template"):
        tokenizer.chat_template = values["chat_template"]
    return tokenizer

"""Writes `trainer_fields.json` from the installed transformers: `python -m plugtune.options.make_trainer_fields`.

The table lets a request be checked in milliseconds, without importing transformers; a test compares it with the class.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("trainer_fields.json")


def fields() -> list[dict[str, Any]]:
    """Every init field of `Seq2SeqTrainingArguments` as an option schema."""
    from transformers import Seq2SeqTrainingArguments

    hints = typing.get_type_hints(Seq2SeqTrainingArguments)
    rows = []
    for item in dataclasses.fields(Seq2SeqTrainingArguments):
        if not item.init or item.name.startswith("_"):
            continue
        kind, nullable = _kind(hints[item.name])
        default = item.default if item.default is not dataclasses.MISSING else None
        default = default.value if isinstance(default, Enum) else default
        help_text = re.sub(r"\s+", " ", str(item.metadata.get("help", ""))).split(". ")[0].strip()
        rows.append(
            {
                "name": item.name,
                "type": kind,
                "default": default,
                "help": help_text,
                "nullable": nullable or default is None,
            }
        )
    return sorted(rows, key=lambda row: str(row["name"]))


def _kind(hint: Any) -> tuple[str, bool]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        parts = [_kind(part)[0] for part in typing.get_args(hint) if part is not type(None)]
        order = ["bool", "int", "float", "dict", "list[str]", "str"]
        kinds = sorted(set(parts), key=lambda k: order.index(k) if k in order else 9)
        return " | ".join(kinds), type(None) in typing.get_args(hint)
    if hint in (str, int, float, bool):
        return str(hint.__name__), False
    origin = typing.get_origin(hint) or hint
    if origin is dict:
        return "dict", False
    if origin is list:
        return "list[str]", False
    return "str", False


if __name__ == "__main__":
    TARGET.write_text(json.dumps(fields(), indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")

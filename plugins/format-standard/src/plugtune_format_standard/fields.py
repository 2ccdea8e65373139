"""Shared reading of fields: text, tools, preference answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from plugtune import Message, RowError, text_of


def text(row: Mapping[str, Any], column: str | None, *, required: bool = False) -> str:
    """The text of a column; empty when the column is not mapped, absent or null.

    Raises:
        RowError: it is required and missing or blank, or it is not text.
    """
    return text_of(row, column, required=required and column is not None)


def tools(row: Mapping[str, Any], column: str | None) -> tuple[Mapping[str, Any], ...]:
    """The tools of a row: a list, or JSON text of one; blank means none.

    Raises:
        RowError: the JSON is broken or holds something else.
    """
    value = row.get(column) if column else None
    if value is None or (isinstance(value, str) and not value.strip()):
        return ()
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError as error:
            raise RowError(f"broken JSON: {error.msg} at character {error.pos}", field=str(column)) from None
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise RowError("expected a list of tool descriptions", field=str(column))
    return tuple(value)


def system_message(content: str) -> list[Message]:
    """A system message, unless there is nothing in it."""
    return [Message("system", content)] if content.strip() else []


def truth(value: Any, column: str) -> bool:
    """A judgement column as a boolean.

    Raises:
        RowError: it is neither true nor false.
    """
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    word = str(value).strip().lower()
    if word in ("true", "false", "1", "0"):
        return word in ("true", "1")
    raise RowError(f"expected true or false, found {value!r}", field=column)

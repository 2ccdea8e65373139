"""Reading fields of rows, with errors that name the field: what formats share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune.data.records import RowError


def text_of(row: Mapping[str, Any], column: str | None, *, required: bool = True) -> str:
    """The text of a column; when it is not required, empty text for one that is not mapped, absent or null.

    Raises:
        RowError: it is required and missing or blank, or it is not text.
    """
    if column is None or column not in row:
        if required:
            raise RowError(
                f"the row has no such column; it has {', '.join(map(str, row)) or 'none'}", field=str(column or ""),
                fix="map it under `columns`",
            )  # fmt: skip
        return ""
    value = row[column]
    value = "" if value is None else value
    if not isinstance(value, str):
        raise RowError(f"expected text, found {type(value).__name__}", field=column)
    if required and not value.strip():
        raise RowError("it is empty", field=column, fix="fill it in, or leave the row out")
    return value

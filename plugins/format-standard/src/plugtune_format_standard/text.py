"""Plain text documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plugtune import Document, RowError
from plugtune.data.writable import RowWriter

from plugtune_format_standard.fields import text


def make_converter(
    columns: Mapping[str, str | None], tags: Mapping[str, str], *, kind: str
) -> Callable[[Mapping[str, Any]], Any]:
    """The converter; `prompt` is accepted as the column's role because older registries name it so."""
    column = columns.get("prompt") or columns.get("text") or "text"
    return lambda row: Document(text(row, column, required=True))


def make_writer(*, kind: str) -> RowWriter:
    """The writer of documents."""
    if kind != "document":
        raise RowError("its rows are plain text", field=kind)
    return RowWriter(lambda record: {"text": record.text})  # type: ignore[union-attr]

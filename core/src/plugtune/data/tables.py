"""Reads conversations from table files: joins two files on a key, picks the columns of question and answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugtune.data.encoding import Dropped
from plugtune.data.records import Conversation, Message, Where
from plugtune.data.sources import read_rows
from plugtune.errors import DataError, RequestError, did_you_mean

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TableColumns:
    """Which columns hold what; `FILE_STEM.column` when both files have it."""

    user: str
    assistant: str
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """One or two table files as a source of conversations.

    Attributes:
        first, second, key: the files and the column that joins them.
        columns: what the columns hold.
    """

    first: Path
    second: Path | None
    key: str | None
    columns: TableColumns

    def conversations(self) -> Iterator[tuple[Where, Conversation | Dropped]]:
        """A conversation for each joined row, or the reason why a row gives none: question or answer is empty.

        Raises:
            RequestError: a join without a key, or a key that a file does not have.
            DataError: a file cannot be read, or a column does not exist.
        """
        for where, row in joined_rows(self.first, self.second, self.key):
            yield where, self._conversation(row)

    def _conversation(self, row: Row) -> Conversation | Dropped:
        question, answer = (_text(row, name).strip() for name in (self.columns.user, self.columns.assistant))
        if not question or not answer:
            return Dropped("the question is empty" if not question else "the answer is empty")
        system = _text(row, self.columns.system) if self.columns.system else ""
        start = [Message("system", system)] if system.strip() else []
        return Conversation((*start, Message("user", question), Message("assistant", answer)))


def _text(row: Row, column: str) -> str:
    if column not in row:
        known = ", ".join(sorted(row))
        raise DataError(f"there is no column {column!r}", fix=did_you_mean(column, row) or f"columns: {known}")
    value = row[column]
    return "" if value is None else str(value)


def joined_rows(first: Path, second: Path | None, key: str | None) -> Iterator[tuple[Where, Row]]:
    """Rows of the first file, each with every matching row of the second; columns are also known as STEM.column.

    Raises:
        RequestError: a join without a key, or a key that a file does not have.
        DataError: a file cannot be read.
    """
    if second is None:
        for raw in read_rows(first):
            yield raw.where, _named(first, raw.values)
        return
    if not key:
        raise RequestError("two files need a column to join them on", where="--on")
    if first.stem == second.stem:
        raise RequestError(
            f"{first} and {second} have the same stem, which tells their columns apart", where="--join",
            fix="rename one of them",
        )  # fmt: skip
    answers: dict[str, list[Row]] = {}
    for raw in read_rows(second):
        answers.setdefault(str(_value(raw.values, key, second)), []).append(_named(second, raw.values))
    for raw in read_rows(first):
        question = _named(first, raw.values)
        for answer in answers.get(str(_value(raw.values, key, first)), []):
            # A column that both files have is only known by its full name.
            shared = {k for k in raw.values if k in answer}
            yield raw.where, {k: v for k, v in {**answer, **question}.items() if k not in shared or k == key}


def _named(file: Path, values: Any) -> Row:
    return {**values, **{f"{file.stem}.{name}": value for name, value in values.items()}}


def _value(values: Any, key: str, file: Path) -> Any:
    if key not in values:
        raise RequestError(
            f"{file} has no column {key!r}",
            where="--on",
            fix=did_you_mean(key, values) or f"columns: {', '.join(values)}",
        )
    return values[key]

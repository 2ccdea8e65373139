"""Turns table files into conversations: joins two files on a key, picks the columns of question and answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from plugtune.data.sources import read_rows
from plugtune.errors import DataError, RequestError, did_you_mean
from plugtune.training.checkpoint import write_whole

Row = dict[str, Any]


def join_rows(first: Path, second: Path | None, key: str | None) -> Iterator[Row]:
    """Rows of the first file, each with every matching row of the second; columns are also known as STEM.column.

    Raises:
        RequestError: a join without a key, or a key that a file does not have.
        DataError: a file cannot be read.
    """
    if second is None:
        for raw in read_rows(first):
            yield _named(first, raw.values)
        return
    if not key:
        raise RequestError("two files need a column to join them on", where="--on")
    answers: dict[str, list[Row]] = {}
    for raw in read_rows(second):
        answers.setdefault(str(_value(raw.values, key, second)), []).append(_named(second, raw.values))
    for raw in read_rows(first):
        question = _named(first, raw.values)
        for answer in answers.get(str(_value(raw.values, key, first)), []):
            # A column that both files have is only known by its full name.
            shared = {k for k in raw.values if k in answer}
            yield {**{k: v for k, v in {**answer, **question}.items() if k not in shared or k == key}}


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


def sharegpt_rows(
    rows: Iterator[Row], user: str, assistant: str, system: str | None, limit: int | None
) -> tuple[list[Row], dict[str, int]]:
    """Rows in sharegpt form, and how many were left out for which reason.

    Raises:
        DataError: a column does not exist.
    """
    converted: list[Row] = []
    skipped: dict[str, int] = {}
    for row in islice(rows, limit):
        for column in filter(None, (user, assistant, system)):
            if column not in row:
                known = ", ".join(sorted(row))
                raise DataError(f"there is no column {column!r}", fix=did_you_mean(column, row) or f"columns: {known}")
        question, answer = str(row[user] or "").strip(), str(row[assistant] or "").strip()
        if not question or not answer:
            reason = "the question is empty" if not question else "the answer is empty"
            skipped[reason] = skipped.get(reason, 0) + 1
            continue
        entry: Row = {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}
        if system:
            entry["system"] = row[system]
        converted.append(entry)
    if not converted:
        raise DataError(
            "nothing was converted", why="; ".join(f"{n} rows: {r}" for r, n in skipped.items()) or "no rows match"
        )
    return converted, skipped


def write_rows(path: Path, rows: list[Row]) -> None:
    """UTF-8 JSON without escapes, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(rows, ensure_ascii=False, indent=1) + "\n").encode("utf-8"))

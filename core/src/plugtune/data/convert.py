"""Writes records into a file of another format, without loss.

Every row that is written is read back by the target's own converter and compared with the record it came from, so that
no format has to be trusted to hold what it was given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from plugtune.capabilities import DatasetFormat, load_ref
from plugtune.catalog import Catalog
from plugtune.data.difference import first_difference
from plugtune.data.encoding import Dropped
from plugtune.data.pipeline import converter, raw_rows
from plugtune.data.records import Record, RecordKind, RowError, RowLeftOut, Where
from plugtune.data.registry import DatasetSpec
from plugtune.data.report import LISTED, SetReport
from plugtune.data.rowfile import RowFile, row_text
from plugtune.data.sources import files_of
from plugtune.data.tables import Table
from plugtune.data.writable import RowWriter, WritableFormat
from plugtune.errors import DataError, Problem, RequestError

Source = Iterator[tuple[Where, Record | RowError | Dropped]]
"""Records with their places; an error where a row cannot be read, a reason where a row is left out."""


@dataclass(slots=True)
class Converted:
    """What became of the rows.

    Attributes:
        rows: how many were written.
        report: what was read, and the bad rows.
        entry: the registry entry of the file.
    """

    rows: int
    report: SetReport
    entry: dict[str, Any] = field(default_factory=dict)


def records_of(spec: DatasetSpec, kind: RecordKind) -> Source:
    """Records of a data set."""
    convert = converter(spec, kind)
    for raw in raw_rows(spec):
        try:
            yield raw.where, convert(raw.values)
        except RowError as error:
            yield raw.where, error
        except RowLeftOut as left:
            yield raw.where, Dropped(left.reason)


def records_of_table(table: Table) -> Source:
    """Conversations of table files."""
    yield from table.conversations()


class Target:
    """A format as the target of a conversion of records of one kind.

    Raises:
        RequestError: the format cannot be written, or holds no such records.
    """

    def __init__(self, catalog: Catalog, name: str, kind: RecordKind) -> None:
        self.format: DatasetFormat = catalog.get("format", name)
        writable = [f for f in catalog.all("format") if isinstance(f, WritableFormat)]
        if not isinstance(self.format, WritableFormat):
            names = ", ".join(f.name for f in writable)
            raise RequestError(f"format {name!r} is only read, not written", where="--to", fix=f"one of {names}")
        try:
            self.writer: RowWriter = load_ref(self.format.write)(kind=kind)
        except RowError as error:
            fitting = ", ".join(f.name for f in writable if _holds(f, kind))
            raise RequestError(
                f"format {name!r} holds no {kind} rows", where="--to", why=error.reason,
                fix=f"one of {fitting}" if fitting else "",
            ) from None  # fmt: skip
        self.columns = {**self.format.columns, **self.writer.columns}
        self.read = load_ref(self.format.convert)(self.columns, self.format.tags, kind=kind)

    def text(self, record: Record) -> tuple[str, set[str]]:
        """A record's row as JSON, proven to read back as the same record, and its columns.

        Raises:
            RowError: the format cannot hold it.
        """
        row = self.writer.row(record)
        try:
            text = row_text(row)
        except (TypeError, ValueError) as error:
            raise RowError(f"it holds something that JSON cannot write: {error}") from None
        try:
            back = self.read(json.loads(text))
        except RowError as error:
            raise RowError(error.reason, field=error.field) from None
        if difference := first_difference(record, back):
            raise RowError("it would read back differently", field=difference)
        return text, set(row)

    def entry(self, file_name: str, used: set[str], ranking: bool) -> dict[str, Any]:
        """The registry entry of a file with these columns."""
        columns = {
            role: name
            for role, name in self.writer.columns.items()
            if name in used and self.format.columns.get(role) != name
        }
        entry: dict[str, Any] = {"file_name": file_name, "formatting": self.format.name}
        return entry | ({"columns": columns} if columns else {}) | ({"ranking": True} if ranking else {})


def _holds(target: WritableFormat, kind: RecordKind) -> bool:
    try:
        load_ref(target.write)(kind=kind)
    except RowError:
        return False
    return True


def convert_records(
    source: Source, target: Target, output: Path, *, name: str, kind: RecordKind, max_bad_rows: int = 0,
    limit: int | None = None,
) -> Converted:  # fmt: skip
    """Write records in the target's format; the file is there whole or, after any error, as it was before.

    Raises:
        DataError: more rows are bad than allowed, the target cannot hold a row, or nothing is left to write.
    """
    report, refused = SetReport(name), 0
    problems: list[Problem] = []
    used: set[str] = set()
    with RowFile(output) as file:
        for where, record in islice(source, limit):
            report.read += 1
            if isinstance(record, Dropped):
                report.drop(where.row, record.reason)
                continue
            if isinstance(record, RowError):
                report.refuse(where, record)
                continue
            try:
                text, columns = target.text(record)
            except RowError as error:
                refused += 1
                if len(problems) < LISTED:
                    problems.append(_unholdable(target.format.name, where, error))
                continue
            used |= columns
            report.kept += 1
            file.write(text)
        if report.bad_count > max_bad_rows:
            report.check(max_bad_rows)
        if refused:
            more = [Problem(f"and {refused - len(problems)} more rows")] if refused > len(problems) else []
            raise DataError.of([*problems, *more])
        if not file.count:
            left_out = "; ".join(f"{count} rows: {reason}" for reason, (count, _) in report.dropped.items())
            raise DataError("nothing was converted", where=name, why=left_out or "no rows match")
    return Converted(file.count, report, target.entry(output.name, used, kind == "preference"))


def _unholdable(name: str, where: Where, error: RowError) -> Problem:
    place = f"{where}, field {error.field!r}" if error.field else str(where)
    return Problem(
        f"format {name} cannot hold this row: {error.reason}", where=place,
        fix=error.fix or "choose another format with --to, or leave the row out",
    )  # fmt: skip


def refuse_own_input(output: Path, inputs: Iterable[Path]) -> None:
    """A conversion never writes over what it reads.

    Raises:
        RequestError: the output is one of the inputs.
    """
    for path in inputs:
        files = files_of(path) if path.exists() else []
        if output.exists() and any(output.samefile(file) for file in files):
            raise RequestError(f"{output} is read by this conversion", where="--output", fix="choose another file")

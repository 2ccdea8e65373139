"""What one batch of rows becomes: converted, encoded, counted, and laid out as Arrow. Runs in any process."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plugtune.collector import collector_off
from plugtune.data.encoding import Dropped, EncodedRow, EncodeOutcome, Encoder
from plugtune.data.filters import RecordFilter, filtered
from plugtune.data.records import RawRow, Record, RowError, RowLeftOut
from plugtune.data.report import SetReport

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Batch:
    """Token rows as a serialized Arrow record batch (empty when no row is left), and the count of the rows read."""

    rows: bytes | pa.Buffer
    count: SetReport


@dataclass(frozen=True, slots=True)
class Work:
    """Turns batches of raw rows into token rows."""

    name: str
    convert: Callable[[Any], Record]
    encoder: Encoder
    filters: tuple[RecordFilter, ...] = ()

    def expect_many(self) -> None:
        """Many rows will come: the encoder, or the template that it writes with, may get ready for them."""
        for part in (self.encoder, getattr(self.encoder, "template", None)):
            if ready := getattr(part, "expect_many", None):
                ready()

    def outcomes(self, rows: Sequence[RawRow], count: SetReport | None = None) -> list[EncodeOutcome]:
        """What becomes of each row; changes that filters make are counted."""
        outcomes: list[Any] = []
        records: list[Record] = []
        read = filtered(self.filters, self.convert, count)
        for row in rows:
            try:
                record = read(row)
            except RowError as error:
                outcomes.append(error)
                continue
            except RowLeftOut as left:
                outcomes.append(Dropped(left.reason))
                continue
            outcomes.append(None)
            records.append(record)
        encoded = iter(self.encoder.encode(records) if records else [])
        return [next(encoded) if outcome is None else outcome for outcome in outcomes]

    def __call__(self, rows: Sequence[RawRow]) -> Batch:
        """A batch of rows, counted and laid out."""
        with collector_off():  # hundreds of thousands of lists and no cycles
            count = SetReport(self.name)
            kept: list[EncodedRow] = []
            for raw, outcome in zip(rows, self.outcomes(rows, count), strict=True):
                kept += tally(raw, outcome, count)
            return Batch(_arrow(kept, self.encoder.columns) if kept else b"", count)


def tally(raw: RawRow, outcome: EncodeOutcome, count: SetReport) -> list[EncodedRow]:
    """Count what became of a row; the token rows to keep."""
    count.read += 1
    if isinstance(outcome, RowError):
        count.refuse(raw.where, outcome)
        return []
    if isinstance(outcome, Dropped):
        count.drop(raw.where.row, outcome.reason)
        return []
    sizes = [row.size or _size(row.columns) for row in outcome]
    count.keep(raw.where.row, sum(row.cut_tokens for row in outcome), sizes)
    return outcome


def _size(columns: Mapping[str, list[int]]) -> tuple[int, int]:
    labels = columns["labels"]
    return len(columns["input_ids"]), len(labels) - labels.count(-100)


def arrow_schema(columns: Sequence[str]) -> pa.Schema:
    """Lists of 32-bit integers under these names."""
    import pyarrow as pa

    return pa.schema([(name, pa.list_(pa.int32())) for name in columns])


def _arrow(rows: Sequence[EncodedRow], columns: Sequence[str]) -> pa.Buffer:
    import pyarrow as pa

    schema = arrow_schema(columns)
    arrays = [_lists([row.columns[name] for row in rows]) for name in columns]
    return pa.record_batch(arrays, schema=schema).serialize()


def _lists(values: list[list[int]]) -> pa.ListArray:
    """Like `pa.array(values, pa.list_(pa.int32()))` in two thirds of its time."""
    import pyarrow as pa

    flat, ends = array("i"), array("i", [0])
    for value in values:
        flat.fromlist(value)
        ends.append(len(flat))
    return pa.ListArray.from_arrays(
        *(pa.Array.from_buffers(pa.int32(), len(a), [None, pa.py_buffer(a)]) for a in (ends, flat))
    )

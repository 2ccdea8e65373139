"""Prepared rows in shards, each whole or absent: a preparation that was killed goes on behind its last whole shard.

A folder of prepared rows holds `rows-00000.arrow`, `rows-00001.arrow`, … (Arrow streams), the count of each beside it
(`rows-00000.json`), and `report.json` once all are there. Shards hold whole batches, so that the batches after a
restart are those of a preparation that was never stopped.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugtune.data.report import SetReport
from plugtune.data.work import Batch
from plugtune.errors import Problem

if TYPE_CHECKING:
    import pyarrow as pa

BATCHES = 20
"""Batches in a shard."""


def shard_files(folder: Path) -> list[Path]:
    """The shards of a folder that are whole, in order."""
    files: list[Path] = []
    while (file := folder / f"rows-{len(files):05d}.arrow").is_file() and file.with_suffix(".json").is_file():
        files.append(file)
    return files


def counted(file: Path, name: str) -> SetReport:
    """What was counted while a shard was written."""
    state = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    state["lengths"] = Counter({int(length): rows for length, rows in state["lengths"].items()})
    state["bad"] = [Problem(**problem) for problem in state["bad"]]
    return SetReport(**{**state, "name": name})


def write_shards(folder: Path, batches: Iterator[Batch], schema: pa.Schema, first: int) -> Iterator[SetReport]:
    """Write batches as shards from number `first` on; yields the count of each shard as soon as it is whole."""
    for number, group in enumerate(_groups(batches), first):
        file, count = folder / f"rows-{number:05d}.arrow", SetReport("")
        _whole(file, _stream(group, schema, count))
        _whole(file.with_suffix(".json"), [json.dumps(_state(count)).encode()])
        yield count


def _groups(batches: Iterator[Batch]) -> Iterator[Iterator[Batch]]:
    for head in batches:
        yield _chained(head, islice(batches, BATCHES - 1))


def _chained(head: Batch, rest: Iterator[Batch]) -> Iterator[Batch]:
    yield head
    yield from rest


def _stream(batches: Iterable[Batch], schema: pa.Schema, count: SetReport) -> Iterator[bytes]:
    """An Arrow stream in pieces, so that no more than a batch is in memory."""
    import pyarrow as pa

    sink = _Pieces()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            count.add(batch.count)
            if len(batch.rows):
                writer.write_batch(pa.ipc.read_record_batch(pa.py_buffer(batch.rows), schema))
            yield from sink.taken()
    yield from sink.taken()


class _Pieces:
    """A file that hands over what was written to it."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing is held back."""

    def taken(self) -> list[bytes]:
        """What was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces


def _whole(file: Path, pieces: Iterable[bytes]) -> None:
    aside = file.with_name(f".{file.name}.part")
    with aside.open("wb") as handle:
        for piece in pieces:
            handle.write(piece)
        handle.flush()
        os.fsync(handle.fileno())
    aside.replace(file)


def _state(count: SetReport) -> dict[str, Any]:
    state = {field.name: getattr(count, field.name) for field in dataclasses.fields(count)}
    return {**state, "lengths": dict(count.lengths), "bad": [dataclasses.asdict(p) for p in count.bad]}

"""Opens data files and yields their rows, each with its place. Knows file types, not what rows mean."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from plugtune.data import jsonstream
from plugtune.data.records import RawRow, Where
from plugtune.errors import DataError, did_you_mean

csv.field_size_limit(1 << 30)


def files_of(path: Path) -> list[Path]:
    """The data files that a path stands for: itself, or the files of a folder, which must be of one type.

    Raises:
        DataError: nothing is there, or nothing that can be read.
    """
    if path.is_file():
        _reader_for(path)
        return [path]
    if not path.is_dir():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"data file {path} does not exist", fix=did_you_mean(path.name, siblings))
    files = sorted(p for p in path.iterdir() if p.suffix in READERS)
    kinds = {p.suffix for p in files}
    if not files:
        raise DataError(f"folder {path} holds no data files", fix=f"known types: {', '.join(sorted(READERS))}")
    if len(kinds) > 1:
        raise DataError(f"folder {path} holds files of several types: {', '.join(sorted(kinds))}", fix="keep one type")
    return files


def read_rows(path: Path) -> Iterator[RawRow]:
    """Rows of a file or folder in order.

    Raises:
        DataError: a file is empty, broken or not UTF-8; names the line.
    """
    for file in files_of(path):
        count = 0
        for count, (values, line) in enumerate(_reader_for(file)(file), 1):
            where = Where(str(file), count, line)
            if not isinstance(values, dict):
                raise DataError(
                    f"a row must be an object with named fields, not {type(values).__name__}", where=str(where)
                )
            yield RawRow(values, where)
        if count == 0:
            raise DataError(f"data file {file} holds no rows")


def _reader_for(path: Path) -> Callable[[Path], Iterator[tuple[Any, int | None]]]:
    try:
        return READERS[path.suffix.lower()]
    except KeyError:
        raise DataError(
            f"data file {path} has a type that cannot be read", fix=f"known types: {', '.join(sorted(READERS))}"
        ) from None


@contextmanager
def _utf8(path: Path) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except OSError as error:
        raise DataError(f"data file {path} cannot be read", why=str(error)) from error


def _not_utf8(path: Path) -> DataError:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return DataError(
                    f"byte 0x{line[error.start]:02x} is not UTF-8", where=f"{path}, line {number}",
                    fix="save the file as UTF-8, for example: iconv -f GB18030 -t UTF-8 FILE > NEW",
                )  # fmt: skip
    return DataError(f"data file {path} is not UTF-8", fix="save the file as UTF-8")


def _json(path: Path) -> Iterator[tuple[Any, int | None]]:
    with _utf8(path) as file:
        yield from jsonstream.items(file, str(path))


def _jsonl(path: Path) -> Iterator[tuple[Any, int | None]]:
    with _utf8(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield json.loads(line), number
            except json.JSONDecodeError as error:
                where = f"{path}, line {number}, column {error.colno}"
                raise DataError(f"broken JSON: {error.msg}", where=where) from None


def _csv(path: Path) -> Iterator[tuple[Any, int | None]]:
    with _utf8(path) as file:
        reader = csv.DictReader(file)
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"this row has {'more' if None in row else 'fewer'} fields than the header",
                    where=f"{path}, line {reader.line_num}", fix="check quotes and commas",
                )  # fmt: skip
            yield row, reader.line_num


def _text(path: Path) -> Iterator[tuple[Any, int | None]]:
    with _utf8(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield {"text": line.rstrip("\r\n")}, number


def _parquet(path: Path) -> Iterator[tuple[Any, int | None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(path).iter_batches(1000):
            yield from ((row, None) for row in batch.to_pylist())
    except pa.ArrowException as error:
        raise DataError(f"data file {path} cannot be read as Parquet", why=str(error)) from error


def _arrow(path: Path) -> Iterator[tuple[Any, int | None]]:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            batches = iter(pa.ipc.open_stream(source))
        except pa.ArrowInvalid:
            try:
                reader = pa.ipc.open_file(source)
            except pa.ArrowException as error:
                raise DataError(f"data file {path} cannot be read as Arrow", why=str(error)) from error
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        for batch in batches:
            yield from ((row, None) for row in batch.to_pylist())


READERS: dict[str, Callable[[Path], Iterator[tuple[Any, int | None]]]] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".csv": _csv,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".txt": _text,
}
"""File ending → reader of (row, line)."""

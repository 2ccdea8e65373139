"""Writes rows as JSON or JSON lines in memory that does not grow, and the file appears whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from plugtune.errors import RequestError, RunError

ENDINGS = (".json", ".jsonl")


class RowFile:
    """An open file of rows. Nothing stands at its path before the `with` block ends without an error.

    Raises:
        RequestError: the path's ending is neither .json nor .jsonl.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix.lower() not in ENDINGS:
            raise RequestError(
                f"file {path} has an ending that rows are not written in", where="--output",
                fix=f"end it with {' or '.join(ENDINGS)}",
            )  # fmt: skip
        self.path, self.count = path, 0
        self._lines = path.suffix.lower() == ".jsonl"
        self._aside = path.with_name(f".{path.name}.{os.getpid()}.part")

    def __enter__(self) -> RowFile:
        with self._told():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._aside.open("w", encoding="utf-8", newline="\n")
        return self

    def write(self, text: str) -> None:
        """Add a row: a JSON object on one line, as `row_text` makes it."""
        lead = "" if self._lines else (",\n" if self.count else "[\n")
        with self._told():
            self._file.write(lead + text + ("\n" if self._lines else ""))
        self.count += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            with self._told(), self._file:
                if not self._lines:
                    self._file.write("\n]\n" if self.count else "[]\n")
                self._file.flush()
                os.fsync(self._file.fileno())
            if kind is None:
                with self._told():
                    self._aside.replace(self.path)
        finally:
            self._aside.unlink(missing_ok=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(f"file {self.path} cannot be written", why=str(error)) from error


def row_text(row: dict[str, Any]) -> str:
    """A row as one line of JSON.

    Raises:
        TypeError, ValueError: it holds something that JSON or UTF-8 cannot write.
    """
    text = json.dumps(row, ensure_ascii=False, allow_nan=False)
    text.encode("utf-8")
    return text

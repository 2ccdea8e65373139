"""Reads a JSON array item by item, with the line of each, in memory that does not grow with the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

from plugtune.errors import DataError

CHUNK = 1 << 20
SPACE = " \t\r\n"


def items(file: TextIO, name: str) -> Iterator[tuple[Any, int]]:
    """Each item of the array in `file` and the line where it starts.

    Raises:
        DataError: the file is empty, is not an array, or is broken; names the line and column.
    """
    return _Reader(file, name).items()


class _Reader:
    def __init__(self, file: TextIO, name: str) -> None:
        self.file, self.name = file, name
        self.text, self.position, self.ended = "", 0, False
        # Line breaks are counted up to `counted` only once: counting from the start for each row is quadratic.
        self.breaks, self.counted, self.decoder = 0, 0, json.JSONDecoder()

    def items(self) -> Iterator[tuple[Any, int]]:
        first = self._next_character()
        if first == "":
            raise DataError(f"{self.name} is empty", fix="a data set is a JSON array of rows")
        if first != "[":
            raise self._broken("expected '[': a JSON data set is an array of rows")
        self.position += 1
        if self._next_character() == "]":
            return
        while True:
            line = self._line()
            yield self._value(), line
            separator = self._next_character()
            if separator == "]":
                self.position += 1
                if self._next_character():
                    raise self._broken("there is more text after the end of the array")
                return
            if separator != ",":
                raise self._broken("expected ',' or ']' after a row" if separator else "the file ends inside the array")
            self.position += 1
            if self._next_character() == "]":
                raise self._broken("a ',' stands before the closing ']'")

    def _value(self) -> Any:
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.position)
            except json.JSONDecodeError as error:
                if not self.ended:
                    self._fill(double=True)
                    continue
                self.position = error.pos
                raise self._broken(error.msg) from None
            # A number at the end of the buffer may go on in the next chunk.
            if end < len(self.text) or self.ended:
                self.position = end
                return value
            self._fill()

    def _next_character(self) -> str:
        while True:
            while self.position < len(self.text) and self.text[self.position] in SPACE:
                self.position += 1
            if self.position < len(self.text):
                return self.text[self.position]
            if self.ended:
                return ""
            self._fill()

    def _line(self) -> int:
        self.breaks += self.text.count("\n", self.counted, self.position)
        self.counted = self.position
        return self.breaks + 1

    def _fill(self, double: bool = False) -> None:
        self._line()
        rest = self.text[self.position :]
        # Doubling keeps the repeated attempts at one huge row linear in its size.
        chunk = self.file.read(max(CHUNK, len(rest) if double else 0))
        self.ended = not chunk
        self.text, self.position, self.counted = rest + chunk, 0, 0

    def _broken(self, reason: str) -> DataError:
        line = self._line()
        column = self.position - (self.text.rfind("\n", 0, self.position) + 1) + 1
        return DataError(f"broken JSON: {reason}", where=f"{self.name}, line {line}, column {column}")

"""Rows made ready for a format without code: joins, filters, constants, column paths, roles of messages.

A data set's entry holds a `mapping`, an object or the name of a YAML or JSON file beside the registry:

    join:                                     # further files, by a key; their row is then a column of its own
      - {file: answers.csv, on: question_id}  # answers.content, answers.rating, ...
    where:                                    # rows that are kept; the others are counted with the rule
      - {column: status, equals: closed}
      - {column: answers.rating, at_least: 3}
    columns:
      question: ticket.body                   # a path
      answer: {path: "replies[-1].text", default: ""}
      system: {constant: "You are a call-centre agent."}
      good: {path: rating, map: {"up": true, "down": false}}
      text: {template: "{subject}\n\n{ticket.body}"}
    messages:                                 # a list of turns in roles of its own -> column `messages`
      from: turns
      role: speaker
      content: text
      roles: {caller: user, agent: assistant, music: null}
      merge: "\n"
      leading: drop

`data.mapping_reader` reads and checks it; this module applies it to rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from plugtune.data.paths import MISSING, value_at
from plugtune.data.records import RawRow, RowError, RowLeftOut
from plugtune.data.sources import read_rows
from plugtune.errors import DataError, did_you_mean

Row = Mapping[str, Any]
UNMATCHED = "\0unmatched"
"""Column by which a row that found no partner tells the reason to the process that counts it."""


@dataclass(frozen=True, slots=True)
class Join:
    """A further file. `ours` and `theirs` are the key columns; `name` is the column that holds the joined row."""

    file: Path
    ours: str
    theirs: str
    name: str
    keep_unmatched: bool = False

    def table(self) -> dict[str, list[Row]]:
        """Key → rows of the file; held in memory.

        Raises:
            DataError: the file cannot be read, or has no such column.
        """
        found: dict[str, list[Row]] = {}
        for raw in read_rows(self.file):
            key = value_at(raw.values, self.theirs)
            if key is MISSING:
                fix = did_you_mean(self.theirs, raw.values) or f"columns: {', '.join(raw.values)}"
                raise DataError(f"{self.file} has no column {self.theirs!r} to join on", where=str(raw.where), fix=fix)
            found.setdefault(str(key), []).append(raw.values)
        return found


@dataclass(frozen=True, slots=True)
class Rule:
    """A row is kept when `column` passes the test `word` with `value`."""

    column: str
    word: str
    value: Any

    def holds(self, row: Row) -> bool:
        """Whether it passes; a missing value passes only `present: false` and the negative tests."""
        found = value_at(row, self.column)
        return TESTS[self.word](None if found is MISSING else found, self.value)

    def __str__(self) -> str:
        return f"{self.column} {self.word.replace('_', ' ')} {self.value!r}"


def _present(found: Any, wanted: Any) -> bool:
    return (found is not None and found != "" and found != []) == bool(wanted)


def _number(found: Any) -> float | None:
    try:
        return float(found)
    except (TypeError, ValueError):
        return None


def _at_least(found: Any, bound: Any) -> bool:
    number = _number(found)
    return number is not None and number >= float(bound)


def _at_most(found: Any, bound: Any) -> bool:
    number = _number(found)
    return number is not None and number <= float(bound)


TESTS: dict[str, Any] = {
    "equals": lambda found, wanted: _same(found, wanted),
    "not_equals": lambda found, wanted: not _same(found, wanted),
    "in": lambda found, wanted: any(_same(found, item) for item in wanted),
    "not_in": lambda found, wanted: not any(_same(found, item) for item in wanted),
    "matches": lambda found, pattern: found is not None and re.search(pattern, str(found)) is not None,
    "at_least": _at_least,
    "at_most": _at_most,
    "present": _present,
}
"""Test → whether a value passes it. Values of CSV files are text, so numbers are compared as they are written too."""


def _same(found: Any, wanted: Any) -> bool:
    return found == wanted or (found is not None and not isinstance(found, bool) and str(found) == str(wanted))


@dataclass(frozen=True, slots=True)
class Column:
    """One column to make: from a path, a constant, or a text with paths in braces."""

    path: str = ""
    constant: Any = MISSING
    template: str = ""
    values: Mapping[str, Any] | None = None
    default: Any = MISSING

    def of(self, row: Row, name: str) -> Any:
        """Its value in a row.

        Raises:
            RowError: the row has no such place, or the value is none of those that `map` knows.
        """
        if self.constant is not MISSING:
            return self.constant
        if self.template:
            return re.sub(r"\{([^{}]+)\}", lambda match: _text(self._value(row, match[1], name)), self.template)
        value = self._value(row, self.path, name)
        if self.values is None or value is self.default:
            return value
        if str(value) not in self.values:
            known = ", ".join(map(repr, self.values))
            raise RowError(f"{value!r} is none of {known}", field=self.path, fix=f"add it to the map of column {name}")
        return self.values[str(value)]

    def _value(self, row: Row, path: str, name: str) -> Any:
        value = value_at(row, path)
        if value is not MISSING:
            return value
        if self.default is not MISSING:
            return self.default
        raise RowError(
            f"the row has nothing there; it has {', '.join(row)}", field=path,
            fix=f"mend the path of column {name}, or give it a default",
        )  # fmt: skip


def _text(value: Any) -> str:
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Turns:
    """A list of turns in roles of its own, turned into role/content messages."""

    source: str
    role: str
    content: str
    roles: Mapping[str, str | None]
    merge: str | None = "\n"
    leading: Literal["keep", "drop", "system"] = "keep"
    trailing: Literal["keep", "drop"] = "keep"

    def of(self, row: Row) -> list[dict[str, str]]:
        """The messages of a row.

        Raises:
            RowError: there is no list of turns, or one has no text or an unknown role.
        """
        turns = value_at(row, self.source)
        if not isinstance(turns, list):
            raise RowError("expected a list of turns", field=self.source)
        messages: list[dict[str, str]] = []
        for number, turn in enumerate(turns, 1):
            message = self._message(turn, f"{self.source}[{number}]")
            if message is None:
                continue
            if self.merge is not None and messages and messages[-1]["role"] == message["role"]:
                messages[-1]["content"] += self.merge + message["content"]
            else:
                messages.append(message)
        return self._ends(messages)

    def _message(self, turn: Any, where: str) -> dict[str, str] | None:
        if not isinstance(turn, Mapping):
            raise RowError("expected an object with a role and a text", field=where)
        role, content = value_at(turn, self.role), value_at(turn, self.content)
        if str(role) not in self.roles:
            known = ", ".join(self.roles)
            shown = None if role is MISSING else role
            raise RowError(
                f"unknown role {shown!r}; known: {known}", field=f"{where}.{self.role}", fix="map it under `roles`"
            )
        if (meant := self.roles[str(role)]) is None:
            return None
        if not isinstance(content, str):
            raise RowError(f"expected text, found {type(content).__name__}", field=f"{where}.{self.content}")
        return {"role": meant, "content": content}

    def _ends(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        """What agents say before the first question, and what callers say after the last answer."""
        while self.leading != "keep" and messages and messages[0]["role"] == "assistant":
            first = messages.pop(0)
            if self.leading == "system":
                messages.insert(0, {"role": "system", "content": first["content"]})
        while self.trailing == "drop" and messages and messages[-1]["role"] != "assistant":
            messages.pop()
        return messages


@dataclass(frozen=True, slots=True)
class RowMapping:
    """All that is done to the rows of a data set before its format reads them.

    Attributes:
        key: changes when the mapping or one of the joined files does; part of the cache's key.
    """

    joins: tuple[Join, ...] = ()
    rules: tuple[Rule, ...] = ()
    columns: Mapping[str, Column] = field(default_factory=dict)
    turns: Turns | None = None
    key: str = ""

    def joined(self, rows: Iterable[RawRow]) -> Iterator[RawRow]:
        """Every row, once for each combination of its partners in the joined files."""
        tables = [(join, join.table()) for join in self.joins]
        for raw in rows:
            combined: list[Row] = [raw.values]
            for join, table in tables:
                combined = [new for row in combined for new in _partners(row, join, table)]
            for values in combined:
                yield RawRow(values, raw.where)

    def __call__(self, row: Row) -> Row:
        """A row as its format will see it.

        Raises:
            RowLeftOut: a rule does not keep it, or it found no partner.
            RowError: a column or a turn cannot be made.
        """
        if UNMATCHED in row:
            raise RowLeftOut(row[UNMATCHED])
        for rule in self.rules:
            if not rule.holds(row):
                raise RowLeftOut(f"not kept by the mapping: {rule}")
        made = {name: column.of(row, name) for name, column in self.columns.items()}
        if self.turns is not None:
            made["messages"] = self.turns.of(row)
        return {**row, **made}


def _partners(row: Row, join: Join, table: Mapping[str, list[Row]]) -> Iterator[Row]:
    if UNMATCHED in row:
        yield row
        return
    key = value_at(row, join.ours)
    found = table.get(str(key), []) if key is not MISSING else []
    for partner in found:
        yield {**row, join.name: partner}
    if not found:
        reason = f"no row of {join.file.name} has the same {join.theirs}"
        yield {**row, join.name: {}} if join.keep_unmatched else {**row, UNMATCHED: reason}

"""The data report: every row read is kept, cut, dropped or bad, and counted with its reason and number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from plugtune.data.records import RowError, Where
from plugtune.errors import DataError, Problem

LISTED = 20
"""Row numbers listed for each reason; all are counted."""


@dataclass(slots=True)
class SetReport:
    """The count of one data set."""

    name: str
    read: int = 0
    kept: int = 0
    cut: int = 0
    cut_tokens: int = 0
    rows_out: int = 0
    tokens: int = 0
    trained_tokens: int = 0
    cached: bool = False
    cut_rows: list[int] = field(default_factory=list)
    dropped: dict[str, list[Any]] = field(default_factory=dict)
    changed: dict[str, list[Any]] = field(default_factory=dict)
    bad: list[Problem] = field(default_factory=list)
    bad_count: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    """Row length → rows of it. There are at most as many lengths as tokens in the longest row."""

    def keep(self, row: int, cut_tokens: int, rows: Iterable[tuple[int, int]]) -> None:
        """A row became rows of (tokens, trained tokens)."""
        self.kept += 1
        if cut_tokens:
            self.cut += 1
            self.cut_tokens += cut_tokens
            if len(self.cut_rows) < LISTED:
                self.cut_rows.append(row)
        for length, trained in rows:
            self.rows_out += 1
            self.tokens += length
            self.trained_tokens += trained
            self.lengths[length] += 1

    def drop(self, row: int, reason: str) -> None:
        """A policy left a row out."""
        _tally(self.dropped, reason, row)

    def change(self, row: int, who: str) -> None:
        """A filter changed a row."""
        _tally(self.changed, who, row)

    def refuse(self, where: Where, error: RowError) -> None:
        """A row could not be read."""
        self.bad_count += 1
        if len(self.bad) < LISTED:
            field_name = f", field {error.field!r}" if error.field else ""
            self.bad.append(Problem(error.reason, where=f"{where}{field_name}", fix=error.fix))

    def add(self, later: SetReport) -> None:
        """Add the count of the rows that follow."""
        for name in ("read", "kept", "cut", "cut_tokens", "rows_out", "tokens", "trained_tokens", "bad_count"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        self.cut_rows = (self.cut_rows + later.cut_rows)[:LISTED]
        self.bad = (self.bad + later.bad)[:LISTED]
        self.lengths.update(later.lengths)
        for ours, theirs in ((self.dropped, later.dropped), (self.changed, later.changed)):
            for reason, (number, rows) in theirs.items():
                before = ours.get(reason, [0, []])
                ours[reason] = [before[0] + number, (before[1] + rows)[:LISTED]]

    def check(self, tolerated: int) -> None:
        """Stop if more rows are bad than tolerated.

        Raises:
            DataError: lists the first bad rows with file, row, field, reason and fix.
        """
        if self.bad_count > tolerated:
            more = self.bad_count - len(self.bad)
            last = [Problem(f"and {more} more rows")] if more else []
            hint = Problem(
                f"{self.bad_count} of {self.read} rows of data set {self.name!r} are wrong and {tolerated} are allowed",
                fix="mend them, or allow so many with --max_bad_rows N (they are left out and counted)",
            )
            raise DataError.of([hint, *self.bad, *last])
        if self.read and not self.rows_out:
            reasons = "; ".join(f"{count} rows: {reason}" for reason, (count, _) in self.dropped.items())
            raise DataError(f"nothing of data set {self.name!r} is left to train on", why=reasons)

    def as_json(self) -> dict[str, Any]:
        """JSON form; lengths as percentiles."""
        return {
            "name": self.name, "read": self.read, "kept": self.kept, "rows_out": self.rows_out, "tokens": self.tokens,
            "trained_tokens": self.trained_tokens, "cached": self.cached,
            "length": percentiles(self.lengths),
            "cut": {"rows": self.cut, "tokens": self.cut_tokens, "first_rows": self.cut_rows},
            "dropped": {reason: {"rows": n, "first_rows": rows} for reason, (n, rows) in self.dropped.items()},
            "changed": {who: {"rows": n, "first_rows": rows} for who, (n, rows) in self.changed.items()},
            "bad": {"rows": self.bad_count, "first": [str(p) for p in self.bad]},
        }  # fmt: skip


def _tally(counts: dict[str, list[Any]], reason: str, row: int) -> None:
    count_and_rows = counts.setdefault(reason, [0, []])
    count_and_rows[0] += 1
    if len(count_and_rows[1]) < LISTED:
        count_and_rows[1].append(row)


def percentiles(histogram: Mapping[int, int]) -> dict[str, int]:
    """The median and other marks of values that are counted by value; exact, empty when nothing was counted."""
    if not histogram:
        return {}
    total, ordered = sum(histogram.values()), sorted(histogram)
    marks = [(f"p{p}", min(total - 1, total * p // 100)) for p in (50, 90, 99)]
    found: dict[str, int] = {}
    seen = 0
    for value in ordered:
        seen += histogram[value]
        found |= {name: value for name, index in marks if name not in found and index < seen}
    return {**found, "max": ordered[-1]}


@dataclass(slots=True)
class DataReport:
    """The reports of all data sets of a run."""

    sets: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """`{"sets": [...]}`."""
        return {"sets": self.sets}

    def text(self) -> str:
        """A short page."""
        return "\n".join(line for entry in self.sets for line in _lines(entry))


def _lines(entry: dict[str, Any]) -> list[str]:
    share = 100 * entry["trained_tokens"] / entry["tokens"] if entry["tokens"] else 0
    cached = ", from the cache" if entry["cached"] else ""
    lines = [
        f"data {entry['name']}: {entry['read']} rows read, {entry['kept']} kept, {entry['tokens']:,} tokens "
        f"({share:.0f} % trained on){cached}"
    ]
    if entry["length"]:
        lines.append("  row length " + ", ".join(f"{name} {value}" for name, value in entry["length"].items()))
    cut = entry["cut"]
    if cut["rows"]:
        lines.append(
            f"  {cut['rows']} rows cut by {cut['tokens']} tokens: rows {_some(cut['first_rows'], cut['rows'])}"
        )
    for reason, drop in entry["dropped"].items():
        lines.append(f"  {drop['rows']} rows dropped, {reason}: rows {_some(drop['first_rows'], drop['rows'])}")
    for who, change in entry.get("changed", {}).items():
        lines.append(f"  {change['rows']} rows changed by {who}: rows {_some(change['first_rows'], change['rows'])}")
    if entry["bad"]["rows"]:
        lines.append(f"  {entry['bad']['rows']} bad rows left out:")
        lines += [f"    {text.splitlines()[0]}" for text in entry["bad"]["first"]]
    return lines


def _some(rows: list[int], count: int) -> str:
    return ", ".join(map(str, rows)) + (" …" if count > len(rows) else "")

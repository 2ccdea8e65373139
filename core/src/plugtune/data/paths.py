"""Column paths: `a.b[0].c` names a value inside a nested row. Knows nothing of formats or files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any


class Missing(Enum):
    """The type of `MISSING`; an enumeration, so that it stays the same object in every process."""

    MISSING = "missing"


MISSING = Missing.MISSING
"""What a path gives when a row has no such place; unlike null, which is a value."""

_STEP = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(-?\d+)\]")


@cache
def steps_of(path: str) -> tuple[str | int, ...]:
    """The steps of a path: names of fields, and places in lists (`[-1]` is the last).

    Raises:
        ValueError: it is not written as `a.b[0].c`.
    """
    steps: list[str | int] = []
    position = 0
    for match in _STEP.finditer(path):
        if match.start() != position:
            break
        steps.append(match[1] if match[2] is None else int(match[2]))
        position = match.end()
    if position != len(path) or not steps or path[0] in ".[":
        raise ValueError(f"{path!r} is no column path; write names with dots between and places in brackets: a.b[0].c")
    return tuple(steps)


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """The value at a path, `MISSING` when the row has none. A column of exactly that name goes first.

    Raises:
        ValueError: the path is not written as one.
    """
    if path in row:
        return row[path]
    value: Any = row
    for step in steps_of(path):
        value = _step(value, step)
        if value is MISSING:
            break
    return value


def _step(value: Any, step: str | int) -> Any:
    if isinstance(step, str):
        return value.get(step, MISSING) if isinstance(value, Mapping) else MISSING
    return value[step] if _is_list(value) and -len(value) <= step < len(value) else MISSING


def is_path(name: str) -> bool:
    """Whether a column name can only be a path."""
    return "." in name or "[" in name


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)

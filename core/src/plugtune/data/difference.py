"""Where two records differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any


def first_difference(left: Any, right: Any, path: str = "") -> str:
    """Path of the first part that differs (`messages[2].content`, counted from 1); empty when there is none.

    Unlike `==` it tells true from 1 and 1 from 1.0: they are written differently into a prompt.
    """
    if is_dataclass(left) and type(left) is type(right):
        parts: list[tuple[str, Any, Any]] = [
            (f".{f.name}", getattr(left, f.name), getattr(right, f.name)) for f in fields(left)
        ]
    elif isinstance(left, Mapping) and isinstance(right, Mapping):
        # The order of keys counts: it is the order in which tools and calls are written into a prompt.
        if list(left) != list(right):
            return path.lstrip(".") or "keys"
        parts = [(f".{key}", left[key], right[key]) for key in left]
    elif _is_list(left) and _is_list(right):
        if len(left) != len(right):
            return path.lstrip(".") or "length"
        parts = [(f"[{n}]", one, other) for n, (one, other) in enumerate(zip(left, right, strict=True), 1)]
    else:
        same = type(left) is type(right) and left == right
        return "" if same else path.lstrip(".") or "value"
    differences = (first_difference(one, other, f"{path}{name}") for name, one, other in parts)
    return next(filter(None, differences), "")


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)

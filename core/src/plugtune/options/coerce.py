"""From a value as given to the type an option has; a wrong value becomes one clear problem."""

from __future__ import annotations

import json
import math
from typing import Any

from plugtune.errors import did_you_mean
from plugtune.options.schema import OptionSpec

TRUE = {"true", "yes", "on", "1"}
FALSE = {"false", "no", "off", "0"}
NONE = {"none", "null", "~", ""}


class WrongValue(ValueError):
    """What is wrong with a value, and how to mend it."""

    def __init__(self, reason: str, fix: str = "") -> None:
        self.reason, self.fix = reason, fix
        super().__init__(reason)


def coerce(spec: OptionSpec, value: Any) -> Any:
    """The value in the option's type.

    Raises:
        WrongValue: it has another type, is not among the choices, or is out of bounds.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in NONE and spec.nullable):
        if spec.nullable:
            return None
        if spec.type.startswith("list"):
            return []
        raise WrongValue("a value is missing")
    result, failed = None, True
    for kind in spec.type.split(" | "):
        try:
            result, failed = _READERS[kind](value), False
            break
        except (ValueError, TypeError):
            continue
    if failed:
        raise WrongValue(f"{value!r} is not {_ARTICLES.get(spec.type, spec.type)}")
    _check(spec, result)
    return result


def _check(spec: OptionSpec, value: Any) -> None:
    if spec.choices:
        for item in value if isinstance(value, list) else [value]:
            if item not in spec.choices:
                shown = ", ".join(str(c) for c in spec.choices)
                near = did_you_mean(str(item), [str(c) for c in spec.choices])
                raise WrongValue(f"{item!r} is not one of {shown}", near)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if spec.minimum is not None and value < spec.minimum:
            raise WrongValue(f"{value} is below the least value {spec.minimum:g}")
        if spec.maximum is not None and value > spec.maximum:
            raise WrongValue(f"{value} is above the greatest value {spec.maximum:g}")


def _bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ValueError


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError
    number = float(value)
    if not math.isfinite(number) or number != int(number):
        raise ValueError
    return int(number)


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def _str(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise ValueError
    return str(value).lower() if isinstance(value, bool) else str(value)


def _dict(value: Any) -> dict[str, Any]:
    parsed = json.loads(value) if isinstance(value, str) else value
    if not isinstance(parsed, dict):
        raise ValueError
    return parsed


def _items(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return [part.strip() for part in str(value).split(",") if part.strip()]


_READERS = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": _str,
    "dict": _dict,
    "list[str]": lambda value: [_str(item) for item in _items(value)],
    "list[int]": lambda value: [_int(item) for item in _items(value)],
    "list[float]": lambda value: [_float(item) for item in _items(value)],
}

_ARTICLES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "dict": "a JSON object",
    "list[float]": "a list of numbers",
    "list[int]": "a list of whole numbers",
}

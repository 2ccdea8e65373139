"""How a piece declares its options: a dataclass whose fields carry help, choices and bounds.

Knows nothing of files, flags or runs; `options.reader` reads requests and `options.resolve` checks them against these
schemas. Schemas are plain data, so that help, the board and the documentation are made from them without importing
the code that uses them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

_METADATA_KEY = "plugtune"


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option as data.

    Attributes:
        name: as written in YAML and, with two dashes, on the command line.
        type: `str`, `int`, `float`, `bool`, `list[str]`, `list[float]`, `list[int]`, `dict`; a list is also read
            from a comma list. Unions are written `int | float | str` and tried in that order.
        default: the value when nobody names the option.
        help: one sentence.
        choices: the only values allowed, when there are any.
        minimum, maximum: inclusive bounds of a number.
        nullable: whether `null`/`none` is a value of its own.
        owner: who reads it (`model`, `data`, `run`, `stage sft`, `method lora`, `trainer` …).
    """

    name: str
    type: str
    default: Any = None
    help: str = ""
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = False
    owner: str = ""

    def as_json(self) -> dict[str, Any]:
        """The JSON form that caches and `--json` listings hold."""
        return dataclasses.asdict(self)


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    choices: Sequence[Any] = (),
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """A dataclass field that is an option. Lists and dicts are copied for each instance."""
    metadata = {_METADATA_KEY: {"help": help, "choices": tuple(choices), "minimum": minimum, "maximum": maximum}}
    if isinstance(default, (list, dict)):
        kept = default
        return dataclasses.field(default_factory=lambda: type(kept)(kept), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def specs_of(options: type, owner: str = "") -> tuple[OptionSpec, ...]:
    """The schema of an options dataclass, in the order of its fields.

    Raises:
        TypeError: a field was not declared with `option(...)`, or has a type that no option can have.
    """
    hints = get_type_hints(options)
    specs = []
    for item in dataclasses.fields(options):
        extra: Mapping[str, Any] | None = item.metadata.get(_METADATA_KEY)
        if extra is None:
            raise TypeError(f"{options.__qualname__}.{item.name} is not declared with option(...)")
        kind, nullable = _type_name(hints[item.name], f"{options.__qualname__}.{item.name}")
        default = item.default
        if default is dataclasses.MISSING:
            default = item.default_factory() if item.default_factory is not dataclasses.MISSING else None
        specs.append(OptionSpec(item.name, kind, default, nullable=nullable, owner=owner, **extra))
    return tuple(specs)


_SCALARS = {str: "str", int: "int", float: "float", bool: "bool", dict: "dict"}


def _type_name(hint: Any, where: str) -> tuple[str, bool]:
    parts = get_args(hint) if _is_union(hint) else (hint,)
    nullable = type(None) in parts
    names = [_one_type(part, where) for part in parts if part is not type(None)]
    return " | ".join(names), nullable


def _is_union(hint: Any) -> bool:
    import types
    import typing

    return get_origin(hint) in (types.UnionType, typing.Union)


def _one_type(part: Any, where: str) -> str:
    if part in _SCALARS:
        return _SCALARS[part]
    if get_origin(part) is list and get_args(part)[0] in _SCALARS:
        return f"list[{_SCALARS[get_args(part)[0]]}]"
    if get_origin(part) is dict:
        return "dict"
    raise TypeError(f"{where}: {part!r} is not a type that an option can have")

"""Reads what the user typed: a YAML or JSON file, `--flags` and `key=value`, each value with its place.

Knows nothing of which names exist or what types they have; that is `options.resolve`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from plugtune.errors import RequestError


@dataclass(frozen=True, slots=True)
class Given:
    """A value as given, and where it stands (`flag --x`, `run.yaml line 3`, `x=1`)."""

    value: Any
    where: str


@dataclass(slots=True)
class Request:
    """Options by name; later sources have replaced earlier ones."""

    values: dict[str, Given] = field(default_factory=dict)

    def peek(self, name: str, default: Any = None) -> Any:
        """The value given for a name, unchecked."""
        return self.values[name].value if name in self.values else default


def read_request(args: Sequence[str]) -> Request:
    """Read the arguments of a command.

    The first argument may be a YAML or JSON file. `--name value`, `--name=value`, bare `--name` (true), `--name a b`
    (a list) and `name=value` follow; dashes in names count as underscores.

    Raises:
        RequestError: a file is missing or broken, or an argument has none of these forms.
    """
    request = Request()
    rest = list(args)
    if rest and not rest[0].startswith("-") and "=" not in rest[0]:
        request.values.update(read_file(Path(rest.pop(0))))
    flags: dict[str, Given] = {}
    pairs: dict[str, Given] = {}
    for name, value, where in _tokens(rest):
        (pairs if where.startswith("argument") else flags)[name] = Given(value, where)
    request.values.update(flags)
    request.values.update(pairs)
    return request


def _tokens(args: list[str]) -> Iterator[tuple[str, Any, str]]:
    index = 0
    while index < len(args):
        arg = args[index]
        index += 1
        if arg.startswith("--") and len(arg) > 2:
            name, equals, value = arg[2:].partition("=")
            name = name.replace("-", "_")
            if equals:
                yield name, value, f"flag --{name}"
                continue
            values = []
            while index < len(args) and not args[index].startswith("--") and not _is_pair(args[index]):
                values.append(args[index])
                index += 1
            yield name, (True if not values else values[0] if len(values) == 1 else values), f"flag --{name}"
        elif _is_pair(arg):
            name, _, value = arg.partition("=")
            yield name.replace("-", "_"), value, f"argument {arg.partition('=')[0]}="
        else:
            raise RequestError(
                f"argument {arg!r} is neither a flag nor key=value",
                fix="write --name value or name=value; a YAML file comes first",
            )


def _is_pair(arg: str) -> bool:
    name, equals, _ = arg.partition("=")
    return bool(equals) and name.replace("-", "_").isidentifier()


def read_file(path: Path) -> dict[str, Given]:
    """The options of a YAML or JSON file (JSON is YAML), each with its line.

    Raises:
        RequestError: the file is missing, unreadable, broken, or names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise RequestError(f"configuration file {path} does not exist") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"configuration file {path} cannot be read", why=str(error), fix="save it as UTF-8"
        ) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.load(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        raise RequestError(
            "this is not valid YAML", where=where, why=getattr(error, "problem", None) or str(error)
        ) from error
    if node is None:
        raise RequestError(f"configuration file {path} is empty")
    if not isinstance(node, yaml.MappingNode):
        raise RequestError("expected `name: value` lines", where=f"{path}, line 1")
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            raise RequestError(
                f"{key.value} stands twice, first in line {lines[key.value]}", where=f"{path}, line {line}",
                fix="keep one of them",
            )  # fmt: skip
        lines[key.value] = line
    return {
        str(name).replace("-", "_"): Given(value, f"{path} line {lines.get(str(name), 0)}")
        for name, value in values.items()
    }

"""Reads the `mapping` of a data set's entry, strictly: a wrong key or value is named with its place."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugtune.data.mapping import TESTS, Column, Join, RowMapping, Rule, Turns
from plugtune.data.paths import MISSING, steps_of
from plugtune.data.sources import files_of
from plugtune.errors import DataError, did_you_mean

KEYS = ("join", "where", "columns", "messages")
JOIN = ("file", "on", "theirs", "as", "how")
COLUMN = ("path", "constant", "template", "map", "default")
MESSAGES = ("from", "role", "content", "roles", "merge", "leading", "trailing")
ROLES = ("system", "user", "assistant", "tool")


def read_mapping(value: Any, root: Path, where: str) -> RowMapping:
    """The mapping of an entry: an object, or the name of a YAML or JSON file in `root`, the registry's folder.

    Raises:
        DataError: it is not written as `data.mapping` says; names the place.
    """
    if isinstance(value, str):
        where = str(root / value)
        value = _read_file(root / value)
    values = _object(value, KEYS, where)
    joins = tuple(_join(v, root, f"{where}, join {n}") for n, v in enumerate(_list(values, "join", where), 1))
    rules = tuple(_rule(v, f"{where}, where {n}") for n, v in enumerate(_list(values, "where", where), 1))
    columns = values.get("columns") or {}
    if not isinstance(columns, Mapping):
        raise DataError("columns is an object: name → path", where=where)
    made = {str(name): _column(v, f"{where}, column {name!r}") for name, v in columns.items()}
    turns = _turns(values["messages"], f"{where}, messages") if values.get("messages") is not None else None
    return RowMapping(joins, rules, made, turns, _key(values, joins))


def _read_file(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(f"mapping file {path} does not exist") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"mapping file {path} cannot be read", why=" ".join(str(error).split())) from error


def _object(value: Any, known: Sequence[str], where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(f"expected an object with {', '.join(known)}", where=where)
    for key in value:
        # YAML reads a bare `on` as true.
        if str(key) not in known and key is not True:
            raise DataError(
                f"unknown key {key!r}", where=where, fix=did_you_mean(str(key), known) or f"known: {', '.join(known)}"
            )
    return {("on" if key is True else str(key)): item for key, item in value.items()}


def _list(values: Mapping[str, Any], key: str, where: str) -> list[Any]:
    found = values.get(key) or []
    if not isinstance(found, list):
        raise DataError(f"{key} is a list", where=where)
    return found


def _need(values: Mapping[str, Any], key: str, where: str) -> str:
    if not isinstance(values.get(key), str) or not values[key]:
        raise DataError(f"{key} is missing", where=where, fix=f"give {key} as text")
    return str(values[key])


def _path(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{value!r} is no column path", where=where)
    try:
        steps_of(value)
    except ValueError as error:
        raise DataError(str(error), where=where) from None
    return value


def _join(value: Any, root: Path, where: str) -> Join:
    values = _object(value, JOIN, where)
    file = root / _need(values, "file", where)
    files_of(file)
    how = values.get("how", "inner")
    if how not in ("inner", "left"):
        raise DataError(f"how is {how!r}", where=where, fix="write inner (rows without partner are left out) or left")
    ours = _path(_need(values, "on", where), where)
    return Join(file, ours, _path(values.get("theirs", ours), where), str(values.get("as", file.stem)), how == "left")


def _rule(value: Any, where: str) -> Rule:
    values = _object(value, ("column", *TESTS), where)
    column = _path(_need(values, "column", where), where)
    words = [key for key in values if key != "column"]
    if len(words) != 1:
        raise DataError("a rule holds a column and one test", where=where, fix=f"one of {', '.join(TESTS)}")
    word, wanted = words[0], values[words[0]]
    if word in ("in", "not_in") and not isinstance(wanted, list):
        raise DataError(f"{word} takes a list", where=where)
    if word in ("at_least", "at_most") and (not isinstance(wanted, int | float) or isinstance(wanted, bool)):
        raise DataError(f"{word} takes a number, not {wanted!r}", where=where)
    if word == "matches":
        try:
            re.compile(str(wanted))
        except re.error as error:
            raise DataError(f"{wanted!r} is no regular expression: {error}", where=where) from None
    return Rule(column, word, wanted)


def _column(value: Any, where: str) -> Column:
    if isinstance(value, str):
        return Column(path=_path(value, where))
    values = _object(value, COLUMN, where)
    given = [key for key in ("path", "constant", "template") if key in values]
    if len(given) != 1:
        raise DataError("a column holds one of path, constant and template", where=where)
    template = str(values.get("template", ""))
    for path in re.findall(r"\{([^{}]+)\}", template):
        _path(path, where)
    mapped = values.get("map")
    if mapped is not None and (not isinstance(mapped, Mapping) or "path" not in values):
        raise DataError("map is an object: value → value, and goes with path", where=where)
    return Column(
        path=_path(values["path"], where) if "path" in values else "",
        constant=values.get("constant", MISSING),
        template=template,
        values={str(key): item for key, item in mapped.items()} if mapped is not None else None,
        default=values.get("default", MISSING),
    )


def _turns(value: Any, where: str) -> Turns:
    values = _object(value, MESSAGES, where)
    roles = values.get("roles") or {role: role for role in ROLES}
    if not isinstance(roles, Mapping):
        raise DataError("roles is an object: role in the file → role", where=where)
    for name, role in roles.items():
        if role is not None and role not in ROLES:
            fix = did_you_mean(str(role), ROLES) or f"one of {', '.join(ROLES)}, or null to leave the turn out"
            raise DataError(f"role {name!r} is mapped to {role!r}", where=where, fix=fix)
    for key, known in (("leading", ("keep", "drop", "system")), ("trailing", ("keep", "drop"))):
        if values.get(key, "keep") not in known:
            raise DataError(f"{key} is {values[key]!r}", where=where, fix=f"one of {', '.join(known)}")
    merge = values.get("merge", "\n")
    return Turns(
        _path(_need(values, "from", where), where), _path(values.get("role", "role"), where),
        _path(values.get("content", "content"), where), {str(k): v for k, v in roles.items()},
        None if merge is None else str(merge), values.get("leading", "keep"), values.get("trailing", "keep"),
    )  # fmt: skip


def _key(values: Mapping[str, Any], joins: Sequence[Join]) -> str:
    digest = hashlib.sha256(repr(values).encode())
    for join in joins:
        for file in files_of(join.file):
            with file.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()

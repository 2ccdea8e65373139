"""Reads an administrator's policy file, strictly: a key or value that is not understood stops the program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError, did_you_mean
from plugtune.plugins.policy import Pattern, file_digest

KEYS = ("allow", "deny", "prefer", "hubs", "trust_remote_code", "network")
PATTERN = ("name", "version", "hash")


def read_policy_file(path: Path) -> dict[str, Any]:
    """The file's values, checked: lists of patterns, true and false for the switches, and the file's digest.

    Raises:
        RequestError: it cannot be read, or says something that is not understood.
    """
    import yaml

    where = f"policy file {path}"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        fix = "mend it, or take it away to run without a policy"
        raise RequestError("the policy cannot be read", where=where, why=str(error), fix=fix) from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise RequestError(f"the policy must be a mapping with {', '.join(KEYS)}", where=where)
    for key in values:
        if key not in KEYS:
            fix = did_you_mean(str(key), KEYS) or f"known: {', '.join(KEYS)}"
            raise RequestError(f"unknown key {key!r}", where=where, fix=fix)
    read: dict[str, Any] = {"digest": file_digest(path)}
    for key in ("allow", "deny"):
        if key in values:
            read[key] = tuple(_pattern(item, f"{where}, {key}") for item in _list(values[key], key, where))
    if "prefer" in values:
        read["prefer"] = _prefer(values["prefer"], where)
    if "hubs" in values:
        read["hubs"] = tuple(_text(item, "hubs", where) for item in _list(values["hubs"], "hubs", where))
    if "trust_remote_code" in values:
        read["trust_remote_code"] = _switch(values["trust_remote_code"], "trust_remote_code", ("never",), where)
    if "network" in values:
        read["network"] = _switch(values["network"], "network", ("off",), where)
    return read


def _list(value: Any, key: str, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise RequestError(f"{key} must be a list of names", where=where)
    return value


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str):
        raise RequestError(f"{key} holds {value!r}, which is no name", where=where)
    return value


def _prefer(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in (*value, *value.values())):
        raise RequestError("prefer must be a mapping of kind:name to plugin", where=where)
    return value


def _switch(value: Any, key: str, off: tuple[str, ...], where: str) -> bool:
    """Whether a thing is allowed. YAML reads `off` as false."""
    if value is False or value in off:
        return False
    if value is True or value in ("on", "ask"):
        return True
    raise RequestError(f"{key} is {value!r}", where=where, fix=f"write {off[0]}, or leave {key} out")


def _pattern(value: Any, where: str) -> Pattern:
    """`name`, `name>=1,<2`, or an object with name, version and hash."""
    if isinstance(value, str):
        match = re.fullmatch(r"([^<>=!~\s]+)\s*([<>=!~].*)?", value.strip())
        if match is None:
            raise RequestError(f"{value!r} is no name with a version range", where=where)
        value = {"name": match[1], "version": match[2] or ""}
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise RequestError(f"{value!r} is neither a name nor an object with a name", where=where)
    for key, item in value.items():
        if key not in PATTERN or not isinstance(item, str):
            fix = did_you_mean(str(key), PATTERN) or f"known: {', '.join(PATTERN)}, all of them texts"
            raise RequestError(f"{key}: {item!r} is not understood", where=where, fix=fix)
    _check_versions(value.get("version", ""), where)
    if value.get("hash") and not re.fullmatch(r"(sha256:)?[0-9a-f]{64}", value["hash"]):
        raise RequestError(
            f"hash {value['hash']!r} is no SHA-256", where=where, fix="copy it from the file of `plugtune plugins lock`"
        )
    return Pattern(value["name"], value.get("version", ""), value.get("hash", ""))


def _check_versions(versions: str, where: str) -> None:
    if not versions:
        return
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(versions)
    except InvalidSpecifier:
        raise RequestError(f"{versions!r} is no version range", where=where, fix="write for example >=1.2,<2") from None

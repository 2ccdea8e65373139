"""Who may load: allow and deny lists from the environment and a policy file.

`PLUGTUNE_PLUGINS_ALLOW` and `PLUGTUNE_PLUGINS_DENY` hold comma lists of plugin or distribution names (globs); an allow
list that is set and empty allows none. `PLUGTUNE_POLICY` names a YAML file with `allow`, `deny` and `prefer`; without
it `~/.config/plugtune/policy.yaml` is read when it exists. A file that cannot be read stops the program: a policy that
is silently ignored is none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError, did_you_mean

KEYS = ("allow", "deny", "prefer")


@dataclass(frozen=True, slots=True)
class Rule:
    """A list of globs and where it was written."""

    source: str
    patterns: tuple[str, ...]

    def match(self, plugin: str, distribution: str) -> str | None:
        """The first glob that matches either name."""
        names = (_plain(plugin), _plain(distribution))
        return next((p for p in self.patterns if any(fnmatchcase(name, _plain(p)) for name in names)), None)


@dataclass(frozen=True, slots=True)
class Policy:
    """What may load, and which plugin wins a contested name (`kind:name` → plugin).

    A plugin must be on every allow list and on no deny list, so that the environment can narrow what an
    administrator's file allows and never widen it.
    """

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()
    prefer: Mapping[str, str] = field(default_factory=dict)

    def verdict(self, plugin: str, distribution: str) -> str:
        """Why a plugin is blocked; an empty string when it may load."""
        for rule in self.deny:
            if (pattern := rule.match(plugin, distribution)) is not None:
                return f"denied by {pattern!r} in {rule.source}"
        for rule in self.allow:
            if rule.match(plugin, distribution) is None:
                return f"not on the allow list in {rule.source}"
        return ""

    def key(self) -> list[list[list[str]]]:
        """The lists as plain data, to compare policies of processes and caches."""
        return [sorted(sorted(rule.patterns) for rule in rules) for rules in (self.allow, self.deny)]


def read_policy(environ: Mapping[str, str] = os.environ) -> Policy:
    """The policy in force.

    Raises:
        RequestError: the policy file is missing, broken or has unknown keys, or PLUGTUNE_PREFER is misspelt.
    """
    named = environ.get("PLUGTUNE_POLICY")
    path = Path(named).expanduser() if named else _default_path(environ)
    values = _read_file(path) if named or os.path.lexists(path) else {}
    allow, deny = [], []
    if "allow" in values:
        allow.append(Rule(str(path), tuple(values["allow"])))
    if "deny" in values:
        deny.append(Rule(str(path), tuple(values["deny"])))
    if "PLUGTUNE_PLUGINS_ALLOW" in environ:
        allow.append(Rule("PLUGTUNE_PLUGINS_ALLOW", _names(environ["PLUGTUNE_PLUGINS_ALLOW"])))
    if "PLUGTUNE_PLUGINS_DENY" in environ:
        deny.append(Rule("PLUGTUNE_PLUGINS_DENY", _names(environ["PLUGTUNE_PLUGINS_DENY"])))
    prefer = {**values.get("prefer", {}), **_preferences(environ.get("PLUGTUNE_PREFER", ""))}
    return Policy(tuple(allow), tuple(deny), prefer)


def _preferences(text: str) -> dict[str, str]:
    prefer = {}
    for part in _names(text):
        name, separator, plugin = part.partition("=")
        if not separator or ":" not in name or not plugin:
            raise RequestError(f"PLUGTUNE_PREFER holds {part!r}", fix="write kind:name=plugin, with commas between")
        prefer[name.strip()] = plugin.strip()
    return prefer


def _default_path(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(base) / "plugtune" / "policy.yaml"


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _read_file(path: Path) -> dict[str, Any]:
    import yaml

    where = f"policy file {path}"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        fix = "mend it, or take it away to run without a policy"
        raise RequestError("the policy cannot be read", where=where, why=str(error), fix=fix) from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise RequestError("the policy must be a mapping with allow, deny and prefer", where=where)
    for key, value in values.items():
        if key not in KEYS:
            raise RequestError(f"unknown key {key!r}", where=where, fix=did_you_mean(str(key), KEYS))
        expected, word = (dict, "mapping of kind:name to plugin") if key == "prefer" else (list, "list of names")
        if not isinstance(value, expected) or not all(isinstance(item, str) for item in [*value, *_values(value)]):
            raise RequestError(f"{key} must be a {word}", where=where)
    return values


def _values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else []

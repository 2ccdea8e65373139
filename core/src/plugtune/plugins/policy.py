"""What may run: plugins by name, version and hash, hubs, code of models, the network; from a file and the environment.

`PLUGTUNE_POLICY` names a YAML file that an administrator signs off; without it `~/.config/plugtune/policy.yaml` is read
when it exists. A file that cannot be read stops the program: a policy that is silently ignored is none. The page
`docs/admin.md` describes the file. `PLUGTUNE_PLUGINS_ALLOW` and `PLUGTUNE_PLUGINS_DENY` hold comma lists of plugin or
distribution names (globs); an allow list that is set and empty allows none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError


@dataclass(frozen=True, slots=True)
class Pattern:
    """A name (glob) and, when they are given, the versions (PEP 440) and the files (SHA-256) that count."""

    name: str
    version: str = ""
    hash: str = ""

    def names(self, plugin: str, distribution: str) -> bool:
        """Whether it means this plugin, whatever its version."""
        return any(fnmatchcase(_plain(name), _plain(self.name)) for name in (plugin, distribution))

    def misses(self, version: str, hash_of: Callable[[], str]) -> str:
        """What of the version or the files is not as it says; empty when all is."""
        if self.version and not _contains(self.version, version):
            return f"{version} is installed and {self.version} is meant"
        if self.hash and (found := hash_of()) != self.hash.removeprefix("sha256:"):
            return f"its files have the hash {found[:12]}… and {self.hash.removeprefix('sha256:')[:12]}… is meant"
        return ""

    def __str__(self) -> str:
        return self.name + self.version + (f" ({self.hash[:19]}…)" if self.hash else "")


@dataclass(frozen=True, slots=True)
class Rule:
    """A list of patterns and where it was written."""

    source: str
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What may load, and which plugin wins a contested name (`kind:name` → plugin).

    A plugin must be on every allow list and on no deny list, so that the environment can narrow what an
    administrator's file allows and never widen it.

    Attributes:
        hubs: the hubs that may be used; `None` for all.
        remote_code: whether Python code of model repositories may run when the user asks for it.
        network: whether this program may reach other machines.
        source, digest: the file and its SHA-256; empty without a file.
    """

    allow: tuple[Rule, ...] = ()
    deny: tuple[Rule, ...] = ()
    prefer: Mapping[str, str] = field(default_factory=dict)
    hubs: tuple[str, ...] | None = None
    remote_code: bool = True
    network: bool = True
    source: str = ""
    digest: str = ""

    def verdict(self, plugin: str, distribution: str, version: str = "", hash_of: Callable[[], str] = str) -> str:
        """Why a plugin is blocked; an empty string when it may load.

        Args:
            hash_of: gives the hash of its files; called only when a pattern names one.
        """
        for rule in self.deny:
            for pattern in rule.patterns:
                if pattern.names(plugin, distribution) and not pattern.misses(version, hash_of):
                    return f"denied by {str(pattern)!r} in {rule.source}"
        for rule in self.allow:
            named = [pattern for pattern in rule.patterns if pattern.names(plugin, distribution)]
            misses = [pattern.misses(version, hash_of) for pattern in named]
            if not named:
                return f"not on the allow list in {rule.source}"
            if all(misses):
                return f"not as the allow list in {rule.source} has it: {misses[0]}"
        return ""

    def check_remote_code(self, asked: bool) -> None:
        """Refuse code of model repositories when it is forbidden.

        Raises:
            RequestError: it was asked for and the policy says never.
        """
        if asked and not self.remote_code:
            raise RequestError(
                "code that comes with models may not run here", where="trust_remote_code",
                why=f"policy file {self.source} says trust_remote_code: never",
                fix="leave trust_remote_code out; a model without a plugin of its family may need a plugin",
            )  # fmt: skip

    def forbidden_hub(self, name: str) -> str:
        """Why a hub may not be used; an empty string when it may."""
        if self.hubs is None or name in self.hubs:
            return ""
        return f"policy file {self.source} allows the hubs {', '.join(self.hubs) or '(none)'}"

    def key(self) -> list[Any]:
        """Everything that decides, as plain data, to compare policies of processes and caches."""
        lists = [sorted(sorted(map(str, rule.patterns)) for rule in rules) for rules in (self.allow, self.deny)]
        return [*lists, list(self.hubs) if self.hubs is not None else None, self.remote_code, self.network]

    def as_json(self) -> dict[str, Any]:
        """What is in force, for reports."""
        return {
            "file": self.source or None,
            "sha256": self.digest or None,
            "allow": {rule.source: [str(p) for p in rule.patterns] for rule in self.allow} or None,
            "deny": {rule.source: [str(p) for p in rule.patterns] for rule in self.deny},
            "prefer": dict(self.prefer),
            "hubs": list(self.hubs) if self.hubs is not None else None,
            "trust_remote_code": "when asked for" if self.remote_code else "never",
            "network": "on" if self.network else "off",
        }


def read_policy(environ: Mapping[str, str] = os.environ) -> Policy:
    """The policy in force.

    Raises:
        RequestError: the policy file is missing, broken or has unknown keys, or PLUGTUNE_PREFER is misspelt.
    """
    named = environ.get("PLUGTUNE_POLICY")
    path = Path(named).expanduser() if named else _default_path(environ)
    values: dict[str, Any] = {}
    if named or os.path.lexists(path):
        from plugtune.plugins.policy_file import read_policy_file

        values = read_policy_file(path)
    rules: dict[str, list[Rule]] = {"allow": [], "deny": []}
    for kind, found in rules.items():
        if kind in values:
            found.append(Rule(str(path), values[kind]))
        variable = f"PLUGTUNE_PLUGINS_{kind.upper()}"
        if variable in environ:
            found.append(Rule(variable, tuple(Pattern(name) for name in _names(environ[variable]))))
    return Policy(
        tuple(rules["allow"]), tuple(rules["deny"]),
        {**values.get("prefer", {}), **_preferences(environ.get("PLUGTUNE_PREFER", ""))},
        hubs=values.get("hubs"), remote_code=values.get("trust_remote_code", True), network=values.get("network", True),
        source=str(path) if values else "", digest=values.get("digest", ""),
    )  # fmt: skip


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _contains(versions: str, version: str) -> bool:
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion

    try:
        return SpecifierSet(versions).contains(version, prereleases=True)
    except InvalidVersion:
        return False

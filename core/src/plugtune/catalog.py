"""Looks capabilities up by kind and name, and explains what is missing, broken or contested.

Knows nothing of how plugins are found or loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugtune.errors import PluginError, did_you_mean

PLURALS = {
    "families": "family", "models": "model", "templates": "template", "formats": "format", "stages": "stage",
    "methods": "method", "optimizers": "optimizer", "launchers": "launcher", "exporters": "exporter", "hubs": "hub",
    "datasets": "dataset", "sources": "source", "commands": "command",
}  # fmt: skip
"""Kinds as listings name them → kinds as capabilities name them."""


@dataclass(frozen=True, slots=True)
class Provided:
    """A capability and who provides it."""

    item: Any
    plugin: str
    distribution: str
    version: str


class Catalog:
    """Capabilities of all loaded plugins.

    Args:
        entries: every capability with its provider.
        prefer: `kind:name` → plugin, settling contested names.
        plugins: all plugins with their status, for explanations (objects with name, status, reason, distribution).
        forbidden: `kind:name` → why the policy does not let it be used.

    Attributes:
        secret: asks plugins for a secret by name; `None` when none knows it.
        filters: what plugins do to every record (`plugtune.data.filters`).
    """

    def __init__(
        self, entries: Iterable[Provided], prefer: Mapping[str, str], plugins: Sequence[Any],
        forbidden: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._entries: dict[str, dict[str, list[Provided]]] = {}
        self._prefer, self._plugins, self._forbidden = prefer, plugins, forbidden or {}
        self.secret: Callable[[str], str | None] = lambda name: None
        self.filters: tuple[Any, ...] = ()
        for entry in entries:
            self._entries.setdefault(entry.item.kind, {}).setdefault(entry.item.name, []).append(entry)

    def names(self, kind: str) -> list[str]:
        """Sorted names of a kind."""
        return sorted(self._entries.get(kind, {}))

    def all(self, kind: str) -> list[Any]:
        """Capabilities of a kind by name; contested names are left to `get`, which explains them."""
        allowed = (name for name in self.names(kind) if f"{kind}:{name}" not in self._forbidden)
        found = (self._entries[kind][name] for name in allowed)
        return [entries[0].item for entries in found if len(entries) == 1 or self._preferred(entries)]

    def entries(self, kind: str) -> list[Provided]:
        """Every provided capability of a kind, contested ones each on its own."""
        return [entry for name in self.names(kind) for entry in self._entries[kind][name]]

    def get(self, kind: str, name: str) -> Any:
        """The capability of that kind and name.

        Raises:
            PluginError: nobody provides it (with the plugin to install, or why it did not load), or two plugins do.
        """
        return self.entry(kind, name).item

    def entry(self, kind: str, name: str) -> Provided:
        """Like `get`, with the provider."""
        entries = self._entries.get(kind, {}).get(name, [])
        if reason := self._forbidden.get(f"{kind}:{name}"):
            raise PluginError(f"{kind} {name!r} may not be used here", why=reason)
        if not entries:
            raise self._missing(kind, name)
        if len(entries) == 1:
            return entries[0]
        preferred = self._preferred(entries)
        if preferred is not None:
            return preferred
        owners = " and ".join(f"{e.distribution} {e.version} (plugin {e.plugin})" for e in entries)
        raise PluginError(
            f"{kind} {name!r} is provided by {owners}",
            why="a name has one owner",
            fix=f"uninstall one, or settle it: PLUGTUNE_PREFER={kind}:{name}={entries[0].plugin}",
        )

    def reveal(self, value: Any) -> Any:
        """A value in which every `${secret:NAME}` is replaced by what plugins say.

        Raises:
            PluginError: no plugin knows a secret.
        """
        return (
            re.sub(r"\$\{secret:([^{}]+)\}", lambda m: self._revealed(m[1]), value) if isinstance(value, str) else value
        )

    def _revealed(self, name: str) -> str:
        found = self.secret(name)
        if found is None:
            raise PluginError(
                f"no installed plugin knows the secret {name!r}", where=f"${{secret:{name}}}",
                fix="install and set up a plugin of secrets (docs/hooks.md)",
            )  # fmt: skip
        return found

    def _preferred(self, entries: list[Provided]) -> Provided | None:
        wanted = self._prefer.get(f"{entries[0].item.kind}:{entries[0].item.name}")
        return next((e for e in entries if e.plugin == wanted), None)

    def _missing(self, kind: str, name: str) -> PluginError:
        distribution = official_provider(kind, name)
        installed = next((p for p in self._plugins if p.distribution == distribution), None) if distribution else None
        if installed is not None and installed.status != "ok":
            return PluginError(
                f"{kind} {name!r} comes from plugin {installed.name}, which is {installed.status}",
                why=installed.reason,
                fix=f"plugtune plugins --trace {installed.name}" if installed.status == "failed" else "",
            )
        if distribution and installed is None:
            return PluginError(f"{kind} {name!r} is not installed", fix=f"pip install {distribution}")
        broken = [p for p in self._plugins if p.status != "ok"]
        why = "; ".join(f"plugin {p.name} is {p.status}: {p.reason}" for p in broken)
        near = did_you_mean(name, self.names(kind))
        have = ", ".join(self.names(kind)) or "none"
        shown = have if len(have) < 200 else f"plugtune list {next(p for p, k in PLURALS.items() if k == kind)}"
        return PluginError(f"unknown {kind} {name!r}", why=why, fix=near or f"available: {shown}")


def official_provider(kind: str, name: str) -> str:
    """The distribution of the official plugin that provides a name; an empty string when there is none."""
    index = json.loads((Path(__file__).parent / "plugins" / "official.json").read_text(encoding="utf-8"))
    return next((dist for dist, kinds in index.items() if name in kinds.get(kind, ())), "")

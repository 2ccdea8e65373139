"""Looks capabilities up by kind and name, and explains what is missing, broken or contested.

Knows nothing of how plugins are found or loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugtune.errors import PluginError, did_you_mean

PLURALS = {
    "families": "family", "models": "model", "templates": "template", "formats": "format", "stages": "stage",
    "methods": "method", "optimizers": "optimizer",
    "exporters": "exporter", "hubs": "hub", "datasets": "dataset", "commands": "command",
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
    """

    def __init__(self, entries: Iterable[Provided], prefer: Mapping[str, str], plugins: Sequence[Any]) -> None:
        self._entries: dict[str, dict[str, list[Provided]]] = {}
        self._prefer, self._plugins = prefer, plugins
        for entry in entries:
            self._entries.setdefault(entry.item.kind, {}).setdefault(entry.item.name, []).append(entry)

    def names(self, kind: str) -> list[str]:
        """Sorted names of a kind."""
        return sorted(self._entries.get(kind, {}))

    def all(self, kind: str) -> list[Any]:
        """Capabilities of a kind by name; contested names are left to `get`, which explains them."""
        found = (self._entries[kind][name] for name in self.names(kind))
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

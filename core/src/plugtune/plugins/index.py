"""What is installed, from a cache: listings and help read it and load no plugin code.

The cache (JSON in the user's cache folder) is keyed on cheap facts: the entry-point files of everything on `sys.path`,
the files of each plugin's package, and the policy. When one of them changes, the plugins that are new or edited are
tried once in a child process (`plugins.trial`) and described; the others keep their description. A cache that cannot
be written or read is only slower.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugtune import __version__
from plugtune.collector import collector_off
from plugtune.plugins.files import package_root, tree_signature
from plugtune.plugins.policy import read_policy

if TYPE_CHECKING:
    from plugtune.plugins.host import LoadedPlugin, PluginHost

FORMAT = 4


@dataclass(slots=True)
class Index:
    """Plugins and what they provide, as plain rows."""

    plugins: list[dict[str, Any]] = field(default_factory=list)
    capabilities: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Rows of a kind: name, plugin, version, summary, and what the kind adds (models, options, target)."""
        return self.capabilities.get(kind, [])

    def fatal(self, plugin: str, distribution: str) -> str:
        """Why importing a plugin would take the process down; an empty string when it would not."""
        owner = (plugin, distribution)
        found = next((p for p in self.plugins if (p["name"], p["distribution"]) == owner and p["fatal"]), None)
        return str(found["reason"]) if found else ""


@cache
def read_index() -> Index:
    """The index of this installation under the policy in force."""
    path, stamp = _path(), _installation_stamp()
    stored = _stored(path)
    if stored is None:
        return _rebuild(path, stamp, Index())
    index, kept_stamp = stored
    if kept_stamp == stamp and all(_unchanged(row) for row in index.plugins):
        return index
    return _rebuild(path, stamp, index)


def _stored(path: Path) -> tuple[Index, str] | None:
    """The index as it was kept and its stamp; `None` when there is none or it is damaged."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["format"] != [FORMAT, __version__]:
            return None
        index = Index(stored["plugins"], stored["capabilities"])
        rows = [index.plugins, *index.capabilities.values()]
        whole = all(isinstance(row, dict) for part in rows for row in part)
        return (index, stored["stamp"]) if whole and all("signature" in row for row in index.plugins) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _unchanged(row: dict[str, Any]) -> bool:
    return bool(tree_signature(row["root"]) == row["signature"])


def _rebuild(path: Path, stamp: str, old: Index) -> Index:
    """The index anew: plugins that are as they were keep their rows, the others are tried in a child process."""
    from plugtune.plugins.discovery import discover
    from plugtune.plugins.host import vet

    with collector_off():
        plugins = vet(discover(), read_policy())
        kept = {_key(row): row for row in old.plugins if row["status"] == "ok" and _unchanged(row)}
        capabilities = _by_plugin(old)
        known: dict[int, dict[str, Any]] = {}
        for number, plugin in enumerate(plugins):
            row = kept.get((plugin.name, plugin.distribution, plugin.version, plugin.module, plugin.api))
            if plugin.status == "ok" and row is not None:
                known[number] = {**row, "rows": capabilities.get(plugin.name, {}), "summary": plugin.summary}
            elif plugin.status != "ok":
                known[number] = plugin_row(plugin)
        fresh = [number for number in range(len(plugins)) if number not in known]
        if fresh:
            from plugtune.plugins.trial import tried

            known.update(zip(fresh, tried([plugins[number] for number in fresh]), strict=True))
        index = _assembled([known[number] for number in range(len(plugins))])
        content = {"format": [FORMAT, __version__], "stamp": stamp}
        _keep(path, {**content, "plugins": index.plugins, "capabilities": index.capabilities})
    return index


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    return (row["name"], row["distribution"], row["version"], row["module"], row["api"])


def _by_plugin(index: Index) -> dict[str, dict[str, list[dict[str, Any]]]]:
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for kind, rows in index.capabilities.items():
        for row in rows:
            found.setdefault(row["plugin"], {}).setdefault(kind, []).append(row)
    return found


def _assembled(records: list[dict[str, Any]]) -> Index:
    """One index from a record for each plugin, capabilities sorted by name within their kind."""
    capabilities: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        for kind, rows in record.pop("rows").items():
            capabilities.setdefault(kind, []).extend(rows)
    # Models stay in the order of their family, as it lists them by generation and size.
    for kind in set(capabilities) - {"model"}:
        capabilities[kind].sort(key=lambda row: str(row["name"]))
    return Index(records, capabilities)


def _keep(path: Path, content: dict[str, Any]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.{time.time_ns()}")
    try:
        body = json.dumps(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(body, encoding="ascii")
        aside.replace(path)
    except (OSError, TypeError, ValueError):  # no room, no right to write, or what a plugin says is no JSON
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def describe(host: PluginHost) -> Index:
    """Rows of everything that a host has loaded."""
    return _assembled([plugin_row(plugin) for plugin in host.plugins])


def plugin_row(p: LoadedPlugin) -> dict[str, Any]:
    """All about a plugin as plain data; `rows` holds those of its capabilities by kind."""
    provides: dict[str, list[str]] = {}
    rows: dict[str, list[dict[str, Any]]] = {}
    for item in p.provides:
        provides.setdefault(item.kind, []).append(item.name)
        rows.setdefault(item.kind, []).append(_capability_row(p, item))
        if item.kind == "family":
            rows.setdefault("model", []).extend(_model_row(p, item, model) for model in item.models)
    # Plugins that failed count too: the edit that mends one must be noticed.
    root = p.root or (package_root(p.module) if p.status in ("ok", "failed") else "")
    return {
        "name": p.name, "distribution": p.distribution, "version": p.version, "api": p.api, "status": p.status,
        "reason": p.reason, "notes": p.notes, "summary": p.summary, "hash": p.hash, "trace": p.trace,
        "provides": provides, "module": p.module, "root": root, "signature": tree_signature(root), "fatal": p.fatal,
        "rows": rows,
    }  # fmt: skip


def _capability_row(plugin: LoadedPlugin, item: Any) -> dict[str, Any]:
    from plugtune.options.schema import specs_of

    row = {"name": item.name, "plugin": plugin.name, "version": plugin.version, "summary": item.summary}
    if getattr(item, "options", None) is not None:
        row["options"] = [spec.as_json() for spec in specs_of(item.options, f"{item.kind} {item.name}")]
    if item.kind == "command":
        row["target"] = item.target
    return row


def _model_row(plugin: LoadedPlugin, family: Any, model: Any) -> dict[str, Any]:
    parts = (model.size, "chat" if model.chat else "base", model.hub.get("huggingface", ""))
    return {
        "name": model.name, "plugin": plugin.name, "version": plugin.version, "size": model.size,
        "hub": dict(model.hub), "chat": model.chat, "family": family.name, "template": model.template,
        "summary": ", ".join(parts),
    }  # fmt: skip


def _path() -> Path:
    base = os.environ.get("PLUGTUNE_CACHE_DIR")
    if not base:
        base = str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plugtune")
    key = hashlib.sha256(repr([sys.prefix, sys.path]).encode()).hexdigest()[:16]
    return Path(base) / f"plugins-{key}.json"


def _installation_stamp() -> str:
    """Changes whenever a distribution comes, goes or changes its entry points, or the policy changes."""
    found: list[Any] = [repr(read_policy())]
    for folder in dict.fromkeys(sys.path):
        try:
            entries = list(os.scandir(folder or "."))
        except OSError:
            continue
        for entry in entries:
            if entry.name.endswith((".dist-info", ".egg-info")):
                try:
                    stat = os.stat(f"{entry.path}/entry_points.txt")
                    found.append((entry.path, stat.st_mtime_ns, stat.st_size))
                except OSError:
                    # Without entry points it is no plugin, but plugins may depend on its version.
                    found.append(entry.name)
    return hashlib.sha256(repr(sorted(map(repr, found))).encode()).hexdigest()

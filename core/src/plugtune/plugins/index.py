"""What is installed, from a cache: listings and help read it and load no plugin code.

The cache (JSON in the user's cache folder) is keyed on cheap facts: the entry-point files of everything on `sys.path`,
the files of each plugin's package, and the policy. When one of them changes the plugins are loaded once and described
anew. A cache that cannot be written or read is only slower.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugtune import __version__
from plugtune.plugins.files import package_root, tree_signature
from plugtune.plugins.policy import read_policy

if TYPE_CHECKING:
    from plugtune.plugins.host import PluginHost

FORMAT = 3


@dataclass(slots=True)
class Index:
    """Plugins and what they provide, as plain rows."""

    plugins: list[dict[str, Any]] = field(default_factory=list)
    capabilities: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Rows of a kind: name, plugin, version, summary, and what the kind adds (models, options, target)."""
        return self.capabilities.get(kind, [])


@cache
def read_index() -> Index:
    """The index of this installation under the policy in force."""
    path, stamp = _path(), _installation_stamp()
    return _stored(path, stamp) or _rebuild(path, stamp)


def _stored(path: Path, stamp: str) -> Index | None:
    """The index as it was kept; `None` when there is none, it is damaged, or something changed since."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        index = Index(stored["plugins"], stored["capabilities"])
        rows = [index.plugins, *index.capabilities.values()]
        whole = all(isinstance(row, dict) for part in rows for row in part)
        if not whole or stored["stamp"] != stamp:
            return None
        return index if all(tree_signature(root) == s for root, s in stored["roots"].items()) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _rebuild(path: Path, stamp: str) -> Index:
    from plugtune.plugins.host import PluginHost

    with _collector_off():
        host = PluginHost().load()
        index = describe(host)
        # Plugins that failed count too: the edit that mends one must be noticed.
        roots = {p.root or package_root(p.module) for p in host.plugins if p.status in ("ok", "failed")} - {""}
        signatures = {root: tree_signature(root) for root in sorted(roots)}
        _keep(path, {"stamp": stamp, "roots": signatures, "plugins": index.plugins, "capabilities": index.capabilities})
    return index


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


@contextmanager
def _collector_off() -> Iterator[None]:
    """Loading many plugins makes many objects and hardly any garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def describe(host: PluginHost) -> Index:
    """Rows of everything that a host has loaded."""
    from plugtune.options.schema import specs_of

    plugins = []
    for p in host.plugins:
        provides: dict[str, list[str]] = {}
        for item in p.provides:
            provides.setdefault(item.kind, []).append(item.name)
        plugins.append(
            {"name": p.name, "distribution": p.distribution, "version": p.version, "api": p.api, "status": p.status,
             "reason": p.reason, "summary": p.summary, "hash": p.hash, "trace": p.trace, "provides": provides}
        )  # fmt: skip
    capabilities: dict[str, list[dict[str, Any]]] = {}
    for kind in ("family", "template", "format", "stage", "method", "exporter", "hub", "dataset", "command"):
        for entry in host.catalog.entries(kind):
            row = {
                "name": entry.item.name,
                "plugin": entry.plugin,
                "version": entry.version,
                "summary": entry.item.summary,
            }
            if getattr(entry.item, "options", None) is not None:
                owner = f"{kind} {entry.item.name}"
                row["options"] = [spec.as_json() for spec in specs_of(entry.item.options, owner)]
            if kind == "family":
                for model in entry.item.models:
                    capabilities.setdefault("model", []).append(
                        {"name": model.name, "plugin": entry.plugin, "version": entry.version, "size": model.size,
                         "hub": dict(model.hub), "chat": model.chat, "family": entry.item.name,
                         "template": model.template,
                         "summary": ", ".join(
                             (model.size, "chat" if model.chat else "base", model.hub.get("huggingface", "")))}
                    )  # fmt: skip
            if kind == "command":
                row["target"] = entry.item.target
            capabilities.setdefault(kind, []).append(row)
    return Index(plugins, capabilities)


def _path() -> Path:
    base = os.environ.get("PLUGTUNE_CACHE_DIR")
    if not base:
        base = str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plugtune")
    key = hashlib.sha256(repr([sys.prefix, sys.path]).encode()).hexdigest()[:16]
    return Path(base) / f"plugins-{key}.json"


def _installation_stamp() -> str:
    """Changes whenever a distribution comes, goes or changes its entry points, or the policy changes."""
    found: list[Any] = [FORMAT, __version__, repr(read_policy()), os.environ.get("PLUGTUNE_PLUGINS_LOCK")]
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

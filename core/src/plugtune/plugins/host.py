"""The plugin host: loads what policy and metadata allow, keeps failures apart, and knows what came from where.

One host is created by each command; there is no other global state. It knows no capability by name.
"""

from __future__ import annotations

import importlib
import json
import os
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, Literal

import pluggy

from plugtune import capabilities, hookspecs
from plugtune.catalog import Catalog, Provided
from plugtune.errors import PluginError
from plugtune.options.schema import specs_of
from plugtune.plugins import tracing
from plugtune.plugins.compat import Versions, incompatibility
from plugtune.plugins.discovery import Candidate, discover
from plugtune.plugins.files import package_root, tree_hash
from plugtune.plugins.files_only import files_plugin
from plugtune.plugins.policy import Policy, read_policy
from plugtune.plugins.sideeffects import Streams, Watch

Status = Literal["ok", "failed", "blocked", "incompatible"]
LOCK = "PLUGTUNE_PLUGINS_LOCK"

KINDS: dict[str, type] = {
    cls.kind: cls
    for cls in (
        capabilities.ModelFamily, capabilities.ChatTemplate, capabilities.DatasetFormat, capabilities.Stage,
        capabilities.TuningMethod, capabilities.Optimizer, capabilities.Launcher, capabilities.Exporter,
        capabilities.Hub, capabilities.DatasetEntry, capabilities.DataSource, capabilities.Command,
    )
}  # fmt: skip


@dataclass(slots=True)
class LoadedPlugin:
    """A plugin and how it fared.

    Attributes:
        reason: why it is not `ok`.
        notes: what it did that a plugin should not do (changed the environment, imported torch …).
        fatal: whether importing it took its process down, so that it is never imported by a command.
    """

    name: str
    distribution: str
    version: str
    module: str
    api: str = "v1_0"
    summary: str = ""
    requires: tuple[str, ...] = ()
    status: Status = "ok"
    reason: str = ""
    trace: str = ""
    hash: str = ""
    root: str = ""
    provides: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fatal: bool = False


def vet(candidates: Sequence[Candidate], policy: Policy) -> list[LoadedPlugin]:
    """Every plugin with the status that policy and metadata give it; imports none."""
    versions = Versions()
    plugins = []
    for c in candidates:
        plugin = LoadedPlugin(c.name, c.distribution, c.version, c.module, c.api, c.summary, c.requires)
        if c.broken:
            plugin.status, plugin.reason = "failed", c.broken
        elif blocked := policy.verdict(c.name, c.distribution, c.version, partial(_hash_of, c.module)):
            plugin.status, plugin.reason = "blocked", blocked
        elif unfit := incompatibility(c, versions):
            plugin.status, plugin.reason = "incompatible", unfit
        plugins.append(plugin)
    _refuse_same_names([plugin for plugin in plugins if plugin.status != "blocked"])
    return plugins


def _hash_of(module: str) -> str:
    return tree_hash(package_root(module))


def _refuse_same_names(plugins: Iterable[LoadedPlugin]) -> None:
    """A plugin name has one owner; which one would win must not depend on the order of loading."""
    by_name: dict[str, list[LoadedPlugin]] = {}
    for plugin in plugins:
        by_name.setdefault(plugin.name, []).append(plugin)
    for name, same in by_name.items():
        if len(same) > 1:
            owners = " and ".join(plugin.distribution for plugin in same)
            for plugin in same:
                plugin.status = "failed"
                plugin.reason = (
                    f"plugin name {name!r} belongs to {owners}; uninstall one or deny it by its distribution"
                )


class PluginHost:
    """Loads plugins and answers for them.

    Args:
        plugins: (name, module) pairs to load instead of installed ones; what tests use.
        policy: the policy in force; read from the environment when left out.
    """

    def __init__(self, plugins: Sequence[tuple[str, Any]] | None = None, policy: Policy | None = None) -> None:
        self.policy = read_policy() if policy is None else policy
        self.manager = pluggy.PluginManager("plugtune")
        self.manager.add_hookspecs(hookspecs)
        self.plugins: list[LoadedPlugin] = []
        self.catalog = Catalog([], self.policy.prefer, [])
        self._given = plugins
        if not self.policy.network:
            from plugtune.plugins.network import switch_off

            switch_off(self.policy.source)

    @property
    def hook(self) -> Any:
        """Caller of the run-time hooks."""
        return self.manager.hook

    def load(self) -> PluginHost:
        """Load every plugin that may; returns the host itself.

        Raises:
            PluginError: this is a worker process and its plugins differ from those of the process that started it.
        """
        if self._given is None:
            from plugtune.plugins.index import read_index

            plugins = vet(discover(), self.policy)
            for plugin in plugins:
                if plugin.status == "ok" and (reason := read_index().fatal(plugin.name, plugin.distribution)):
                    plugin.status, plugin.reason, plugin.fatal = "failed", reason, True
            self.load_vetted(plugins)
            self._check_lock()
            return self
        for name, module in self._given:
            origin = getattr(module, "__name__", type(module).__name__)
            plugin = LoadedPlugin(name, name, str(getattr(module, "__version__", "0")), origin)
            self.plugins.append(plugin)
            self._register(plugin, module)
        return self._catalogued()

    def load_vetted(self, plugins: Sequence[LoadedPlugin]) -> PluginHost:
        """Import those of `plugins` whose status is `ok`, in order, and keep all of them."""
        for plugin in plugins:
            self.load_one(plugin)
        return self._catalogued()

    def load_one(self, plugin: LoadedPlugin) -> None:
        """Import a plugin if its status is `ok`, and keep it; what it changes in this process is undone and noted."""
        self.plugins.append(plugin)
        if plugin.status != "ok":
            return
        target = self._watched(plugin, lambda: self._import(plugin))
        if target is not None:
            self._watched(plugin, lambda: self._register(plugin, target))

    def _watched(self, plugin: LoadedPlugin, act: Callable[[], Any]) -> Any:
        # What a plugin prints while it is imported must not end up in a JSON document on stdout.
        watch = Watch()
        with Streams() as streams:
            answer = act()
        plugin.notes += streams.notes + watch.undo()
        return answer

    def _catalogued(self) -> PluginHost:
        entries = [Provided(item, p.name, p.distribution, p.version) for p in self.plugins for item in p.provides]
        forbidden = {
            f"hub:{e.item.name}": reason for e in entries
            if e.item.kind == "hub" and (reason := self.policy.forbidden_hub(e.item.name))
        }  # fmt: skip
        self.catalog = Catalog(entries, self.policy.prefer, self.plugins, forbidden)
        self.catalog.secret = lambda name: self.hook.plugtune_secret(name=name)
        if self.hook.plugtune_filter_record.get_hookimpls():
            from plugtune.data.filters import record_filters

            self.catalog.filters = record_filters(self)
        return self

    def _import(self, plugin: LoadedPlugin) -> Any:
        module, _, attribute = plugin.module.partition("[")[0].strip().partition(":")
        try:
            target: Any = importlib.import_module(module)
            for part in filter(None, attribute.split(".")):
                target = getattr(target, part)
        except (Exception, SystemExit) as error:  # a plugin may do anything while it is imported
            _fail(plugin, error)
            return None
        return files_plugin(target) or target

    def _register(self, plugin: LoadedPlugin, module: ModuleType | Any) -> None:
        try:
            self.manager.register(module, name=plugin.name)
            if tracing.is_on():
                tracing.trace_plugin(self.manager, plugin.name)
            self._note_deprecated(plugin, module)
            self.manager.check_pending()  # a hook name that does not exist, which would silently never be called
            plugin.provides = self._collect(module)
            plugin.root = package_root(plugin.module)
            plugin.hash = tree_hash(plugin.root)
        except (Exception, SystemExit) as error:
            _fail(plugin, error)
            if self.manager.get_plugin(plugin.name) is module:
                self.manager.unregister(name=plugin.name)

    def _note_deprecated(self, plugin: LoadedPlugin, module: Any) -> None:
        for caller in self.manager.get_hookcallers(module) or ():
            if (instead := hookspecs.DEPRECATED.get(caller.name)) is not None:
                who = f"plugin {plugin.name} ({plugin.distribution} {plugin.version})"
                plugin.notes.append(f"implements {caller.name}, which will go; {instead}")
                warnings.warn(f"{who} implements {caller.name}, which will go; {instead}", DeprecationWarning, 2)

    def _collect(self, module: Any) -> list[Any]:
        provided: list[Any] = []
        for hook, kind in hookspecs.COLLECTING_HOOKS.items():
            for implementation in getattr(self.manager.hook, hook).get_hookimpls():
                if implementation.plugin is module:
                    provided += _checked(hook, kind, implementation.function())
        return provided

    def collected(self, plugin: str) -> list[Any]:
        """The capabilities of a loaded plugin, asked for anew."""
        return self._collect(self.manager.get_plugin(plugin))

    def provenance(self) -> list[dict[str, str]]:
        """Name, distribution, version and hash of every plugin that loaded."""
        return [
            {"name": p.name, "distribution": p.distribution, "version": p.version, "hash": p.hash}
            for p in self.plugins
            if p.status == "ok"
        ]

    def lock(self) -> str:
        """The loaded plugins as one line for `PLUGTUNE_PLUGINS_LOCK`, which worker processes are held to."""
        plugins = {p["name"]: [p["version"], p["hash"]] for p in self.provenance()}
        return json.dumps({"plugins": plugins, "policy": self.policy.key()}, sort_keys=True)

    def _check_lock(self) -> None:
        wanted = os.environ.get(LOCK)
        if not wanted or wanted == self.lock():
            return
        try:
            theirs, ours = json.loads(wanted), json.loads(self.lock())
            left, right = theirs["plugins"], ours["plugins"]
        except (ValueError, KeyError, TypeError) as error:
            raise PluginError(f"{LOCK} is not what plugtune wrote", why=str(error), fix=f"unset {LOCK}") from error
        differing = sorted(name for name in {*left, *right} if left.get(name) != right.get(name))
        what = ", ".join(_difference(name, left.get(name), right.get(name)) for name in differing) or "the policy"
        raise PluginError(
            f"this worker process differs from the process that started it in {what}",
            fix="install the same plugins, with the same policy, on every machine",
        )


def _difference(name: str, theirs: list[str] | None, ours: list[str] | None) -> str:
    if theirs is None:
        return f"{name} (not loaded there)"
    if ours is None:
        return f"{name} (not loaded here)"
    if theirs[0] != ours[0]:
        return f"{name} ({theirs[0]} there, {ours[0]} here)"
    return f"{name} (same version, other files)"


def _checked(hook: str, kind: str, answer: Any) -> list[Any]:
    """The answer of a collecting hook, or a `TypeError` that says what is wrong with it."""
    if answer is None:
        return []
    if not isinstance(answer, (list, tuple)):
        raise TypeError(f"{hook} returned {type(answer).__name__} and must return a list")
    items: list[Any] = list(answer)
    expected: Any = KINDS[kind]
    for item in items:
        if not isinstance(item, expected):
            raise TypeError(f"{hook} returned {item!r}, which is not a {KINDS[kind].__name__}")
        if not isinstance(item.name, str) or not item.name:
            raise TypeError(f"{hook} returned a {KINDS[kind].__name__} without a name")
        if (options := getattr(item, "options", None)) is not None:
            specs_of(options)
    names = [item.name for item in items]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TypeError(f"{hook} returned {', '.join(twice)} more than once")
    return list(answer)


def _fail(plugin: LoadedPlugin, error: BaseException) -> None:
    plugin.status = "failed"
    # Some libraries say what is wrong in the second line.
    plugin.reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
    plugin.trace = "".join(traceback.format_exception(error))
    plugin.provides = []

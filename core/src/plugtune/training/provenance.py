"""Which plugins take part in a run: kept in its folder, and compared when the run or its model is taken up again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from plugtune import __version__
from plugtune.errors import RequestError
from plugtune.hookspecs import COLLECTING_HOOKS
from plugtune.plugins import lockfile
from plugtune.training.checkpoint import write_whole

FOR_MODEL = ("family", "method", "template", "hook plugtune_load_model")
"""Parts that still matter when a trained model is used: what made its weights and its prompts."""


def acting(host: Any) -> dict[str, list[str]]:
    """Plugin → the run-time hooks that it implements."""
    found: dict[str, list[str]] = {}
    for plugin in host.plugins:
        registered = host.manager.get_plugin(plugin.name) if plugin.status == "ok" else None
        for caller in (host.manager.get_hookcallers(registered) or ()) if registered is not None else ():
            if caller.name not in COLLECTING_HOOKS:
                found.setdefault(plugin.name, []).append(f"hook {caller.name}")
    return found


def used(run: Any) -> dict[str, list[str]]:
    """Plugin → what it does in a run: the stage, the method, the family, the template, the formats, hooks."""
    plan, catalog = run.plan, run.host.catalog
    named = [("stage", plan.stage.name), ("method", plan.method.name)]
    if plan.optimizer is not None:
        named.append(("optimizer", plan.optimizer.name))
    if plan.launcher is not None:
        named.append(("launcher", plan.launcher.name))
    if plan.family is not None:
        named.append(("family", plan.family.name))
    if run.template is not None and run.template.name in catalog.names("template"):
        named.append(("template", run.template.name))
    named += [(kind, name) for kind, name in getattr(run.rows, "pieces", ())]
    found = acting(run.host)
    for kind, name in dict.fromkeys(named):
        found.setdefault(catalog.entry(kind, name).plugin, []).append(f"{kind} {name}")
    return found


def record(run: Any) -> None:
    """Write `plugins.json` into the run's folder: every plugin that loaded, and what it does in this run."""
    parts = used(run)
    plugins = [{**p, "used": parts.get(p["name"], [])} for p in run.host.provenance()]
    run.output_dir.mkdir(parents=True, exist_ok=True)
    write_whole(run.output_dir / lockfile.RUN_FILE, lockfile.text_of(plugins, __version__).encode())


def check_resume(folder: Path, host: Any, *, allowed: bool) -> list[str]:
    """Notes about plugins that differ from those that the run in a folder was started with.

    Raises:
        RequestError: some that take part differ and it was not allowed.
    """
    return _check(folder, host, allowed, "resume_from_checkpoint", "the checkpoint was written", ())


def check_model(folders: Iterable[Path], host: Any, *, allowed: bool) -> list[str]:
    """The same for trained models and adapters that are loaded to answer or to be exported.

    Raises:
        RequestError: plugins that matter for the model differ and it was not allowed.
    """
    notes = []
    for folder in folders:
        notes += _check(folder, host, allowed, str(folder), "it was trained", FOR_MODEL)
    return notes


def _check(folder: Path, host: Any, allowed: bool, where: str, what: str, parts: tuple[str, ...]) -> list[str]:
    file = folder / lockfile.RUN_FILE
    if not file.is_file():
        return []
    _, then = lockfile.read(file)
    counted = [p for p in then if any(not parts or part.startswith(parts) for part in p.get("used", ()))]
    now = {p["name"]: p for p in host.provenance()}
    found = lockfile.differences(counted, now.values(), others=False)
    hooks = acting(host)
    known = {plugin["name"] for plugin in then}
    new = [n for n, names in hooks.items() if n not in known and any(not parts or h.startswith(parts) for h in names)]
    found += [f"plugin {name} {now[name]['version']} acts now and was not there then" for name in new]
    if found and not allowed:
        raise RequestError(
            f"plugins differ from those with which {what}", where=where, why="; ".join(found),
            fix="install those versions again, or add --allow_plugin_change true",
        )  # fmt: skip
    return [f"allowed although plugins differ: {text}" for text in found]

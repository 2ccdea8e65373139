"""Writes the folder of a new plugin from the files beside this module. Knows kinds by their folders, not what they do.

In names and texts `@word@` stands for a value; `_module_` and `_name_` in paths, `dot_` for a leading dot, and `.in`
at the end of every file keep the files from being taken for what they will be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from plugtune.errors import RequestError, RunError, did_you_mean

ROOT = Path(__file__).parent
KINDS = ("template", "family", "format", "stage", "exporter")
PREFIX = {"exporter": "export"}
"""Kinds whose distributions have a shorter name."""

NEXT_STEPS = {
    "template": "Change the pieces and the golden examples in `src/{module}/templates/{name}.yaml`.",
    "family": "Name your models in `src/{module}/__init__.py`, with the model type of their config.json.",
    "format": "Change `convert` in `src/{module}/__init__.py`, and the good and bad rows in `tests/test_plugin.py`.",
    "stage": "Change the loss in `src/{module}/stage.py` and the options in `src/{module}/__init__.py`.",
    "exporter": "Change what is written in `src/{module}/export.py`.",
}


def distribution_of(kind: str, name: str) -> str:
    """The name under which a plugin is built: `plugtune-format-csv_calls` → `plugtune-format-csv-calls`."""
    return f"plugtune-{PREFIX.get(kind, kind)}-{name.replace('_', '-').replace('.', '-')}"


def check_name(kind: str, name: str) -> None:
    """A name that works as a flag's value, a file name and, with dashes as underscores, a Python name.

    Raises:
        RequestError: it does not.
    """
    if kind not in KINDS:
        raise RequestError(f"unknown kind {kind!r}", fix=did_you_mean(kind, KINDS) or f"one of {', '.join(KINDS)}")
    if not re.fullmatch(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", name):
        near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")
        raise RequestError(
            f"{name!r} is no name for a plugin", where="NAME",
            why="a name starts with a letter and holds small letters, digits and single dashes",
            fix=f"for example: plugtune new {kind} {near or 'my-name'}",
        )  # fmt: skip


def values_for(kind: str, name: str, version: str, api: str) -> dict[str, str]:
    """What stands for each `@word@`."""
    distribution = distribution_of(kind, name)
    plain = name.replace("-", "_")
    major, minor = version.split(".")[:2]
    module = distribution.replace("-", "_")
    shown = {"exporter": "exporters", "family": "families"}.get(kind, f"{kind}s")
    return {
        "distribution": distribution, "plugin": distribution.removeprefix("plugtune-"), "module": module,
        "name": name, "Name": "".join(part.capitalize() for part in plain.split("_")), "kind": kind, "kinds": shown,
        "title": f"The {kind} {name}", "version": f"{major}.{minor}", "next_version": f"{major}.{int(minor) + 1}",
        "api": api, "option": f"{plain}_{'card' if kind == 'exporter' else 'smoothing'}", "folder": ".",
        "next_steps": NEXT_STEPS[kind].format(module=module, name=name),
    }  # fmt: skip


def write(kind: str, folder: Path, values: Mapping[str, str]) -> list[str]:
    """Write the plugin; the folder is there whole or not at all. Returns the files' names.

    Raises:
        RequestError: the folder exists.
        RunError: it cannot be written.
    """
    if folder.exists():
        raise RequestError(f"{folder} exists", where="--output", fix="choose another folder, or move that one away")
    aside = folder.with_name(f".{folder.name}.part")
    names = []
    try:
        for source in sorted(path for base in ("common", kind) for path in (ROOT / base).rglob("*.in")):
            relative = source.relative_to(ROOT / source.relative_to(ROOT).parts[0])
            name = _placed(relative.as_posix().removesuffix(".in"), values)
            names.append(name)
            target = aside / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_filled(source.read_text(encoding="utf-8"), values), encoding="utf-8")
        aside.rename(folder)
    except OSError as error:
        raise RunError(f"{folder} cannot be written", why=str(error)) from error
    return sorted(names)


def _placed(path: str, values: Mapping[str, str]) -> str:
    path = path.replace("_module_", values["module"]).replace("_name_", values["name"]).replace("dot_", ".")
    return ".gitignore" if path == "gitignore" else path


def _filled(text: str, values: Mapping[str, str]) -> str:
    filled = re.sub(r"@(\w+)@", lambda match: values[match[1]] if match[1] in values else match[0], text)
    return filled.rstrip("\n") + "\n"

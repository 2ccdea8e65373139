"""Writes the reference pages of the docs from the code: commands, options, hooks and capabilities.

    python scripts/reference.py [FOLDER]

The pages are made whenever the site is built (`make docs`), so that they cannot be old; they are not kept in the tree.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import pluggy
from plugtune import capabilities, hookspecs
from plugtune.cli.main import program
from plugtune.options.groups import TRAIN_GROUPS, ExportOptions
from plugtune.options.resolve import trainer_specs
from plugtune.options.schema import OptionSpec, specs_of
from plugtune.plugins.host import KINDS, PluginHost

ROOT = Path(__file__).parents[1]


def commands() -> Iterator[str]:
    """Every command of the program with its arguments and options."""
    yield "# Commands\n"
    yield "Made from the code. Every command that reports something takes `--json`.\n"
    context = click.Context(program)
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        if command is not None:
            yield from _command(command, f"plugtune {name}", 2)


def _command(command: click.Command, name: str, level: int) -> Iterator[str]:
    yield f"{'#' * level} {name}\n"
    yield f"{inspect.cleandoc(command.help or '').strip()}\n"
    rows = [_parameter(p) for p in command.params if not getattr(p, "hidden", False)]
    if rows := [row for row in rows if row[0] != "ARGUMENTS"]:
        yield _table(("parameter", "type", "default", "meaning"), rows)
    if isinstance(command, click.Group):
        for sub in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), sub)
            if found is not None:
                yield from _command(found, f"{name} {sub}", level + 1)


def _parameter(parameter: click.Parameter) -> tuple[str, str, str, str]:
    if isinstance(parameter, click.Argument):
        return (str(parameter.name).upper(), "argument", "", "")
    flags = " ".join(f"`{flag}`" for flag in parameter.opts)
    default = parameter.default
    shown = f"`{default}`" if isinstance(default, str | int | float) and not isinstance(default, bool) else ""
    return (flags, parameter.type.name, shown, getattr(parameter, "help", "") or "")


def options(host: PluginHost) -> Iterator[str]:
    """Every option of a run, by owner."""
    yield "# Options of a run\n"
    yield "Flags of `plugtune train` and keys of its YAML file; made from the code.\n"
    for owner, group in {**TRAIN_GROUPS, "export": ExportOptions}.items():
        yield f"## {owner}\n\n{inspect.getdoc(group)}\n"
        yield _options(specs_of(group))
    for kind in ("stage", "method", "exporter"):
        for entry in host.catalog.entries(kind):
            if entry.item.options is not None:
                yield f"## {kind} {entry.item.name}\n\nOf `{entry.distribution}`.\n"
                yield _options(specs_of(entry.item.options))
    yield "## trainer\n\nFields of `transformers.TrainingArguments` that are passed on.\n"
    yield _options(trainer_specs())


def _options(specs: Iterable[OptionSpec]) -> str:
    rows = []
    for spec in specs:
        kind = " or ".join(f"`{c}`" for c in spec.choices) if spec.choices else spec.type.replace("|", "or")
        default = "" if spec.default in (None, "", [], {}) else f"`{spec.default}`"
        rows.append((f"`{spec.name}`", kind, default, spec.help))
    return _table(("option", "type", "default", "meaning"), rows)


def hooks() -> Iterator[str]:
    """Every hook with its documentation, and the capabilities that collecting hooks return."""
    yield "# Hooks and capabilities\n"
    yield f"Plugin API {'.'.join(map(str, hookspecs.API_VERSION))}; made from the code.\n"
    manager = pluggy.PluginManager("plugtune")
    manager.add_hookspecs(hookspecs)
    specs = [name for name in vars(hookspecs) if name.startswith("plugtune_")]
    for title, wanted in (("Collecting hooks", True), ("Run-time hooks", False)):
        yield f"## {title}\n"
        for name in specs:
            if (name in hookspecs.COLLECTING_HOOKS) == wanted:
                function = getattr(hookspecs, name)
                yield f"### {name}\n\n`{name}{str(inspect.signature(function)).replace(chr(39), '')}`\n"
                yield f"{inspect.getdoc(function)}\n"
    yield "## Capabilities\n"
    for cls in [*KINDS.values(), capabilities.ModelEntry, capabilities.Recognised]:
        yield f"### {cls.__name__}\n"
        yield f"```text\n{inspect.getdoc(cls)}\n```\n"
        rows = [(f"`{f.name}`", f"`{f.type}`".replace("|", "\\|"), _default(f)) for f in dataclasses.fields(cls)]
        yield _table(("field", "type", "default"), rows)


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`".replace("\n", "\\n")
    return "" if field.default_factory is dataclasses.MISSING else f"`{field.default_factory()!r}`"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for *cells, last in rows:
        lines.append(f"| {' | '.join([*cells, last.replace('|', chr(92) + '|')])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the pages."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    host = PluginHost().load()
    for name, parts in (("commands", commands()), ("options", options(host)), ("hooks", hooks())):
        (folder / f"{name}.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()

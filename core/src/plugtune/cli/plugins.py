"""`plugtune plugins`: each plugin, whether it loaded, and why not; lock files of what is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from plugtune.cli.output import emit_json, table

INTERNAL = ("trace", "root", "signature")


@click.group("plugins", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--trace", metavar="NAME", help="Print the traceback of a plugin that failed.")
@click.pass_context
def command(context: click.Context, as_json: bool, trace: str | None) -> None:
    """Installed plugins with version, API, status, reason, and what they provide."""
    if context.invoked_subcommand is not None:
        return
    from plugtune.plugins.index import read_index

    plugins = read_index().plugins
    if trace:
        _trace(plugins, trace)
    elif as_json:
        emit_json([{k: v for k, v in p.items() if k not in INTERNAL} for p in plugins])
    else:
        _show(plugins)


def _trace(plugins: list[dict[str, Any]], name: str) -> None:
    from plugtune.errors import PluginError, did_you_mean

    found = next((p for p in plugins if p["name"] == name), None)
    if found is None:
        raise PluginError(f"no plugin {name!r} is installed", fix=did_you_mean(name, [p["name"] for p in plugins]))
    click.echo(found["trace"] or f"plugin {name} is {found['status']}: {found['reason'] or 'no traceback'}")


def _show(plugins: list[dict[str, Any]]) -> None:
    rows = []
    for p in plugins:
        provides = "; ".join(f"{kind} {', '.join(names)}" for kind, names in p["provides"].items())
        shown = provides if len(provides) < 80 else provides[:77] + "..."
        rows.append((p["name"], p["version"], p["api"], p["status"], p["reason"] or shown))
        rows += [("", "", "", "note", text) for text in p["notes"]]
    table(["NAME", "VERSION", "API", "STATUS", "PROVIDES / REASON"], rows)


@command.command("lock")
@click.option("--output", default="plugtune.lock", show_default=True, help="File to write.")
def lock(output: str) -> None:
    """Write name, distribution, version and hash of every plugin that loads into a lock file."""
    from plugtune import __version__
    from plugtune.plugins import lockfile
    from plugtune.plugins.index import read_index
    from plugtune.training.checkpoint import write_whole

    plugins = lockfile.installed(read_index().plugins)
    write_whole(Path(output), lockfile.text_of(plugins, __version__).encode())
    click.echo(f"wrote {output}: {len(plugins)} plugins")


@command.command("verify")
@click.argument("file", default="plugtune.lock")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def verify(file: str, as_json: bool) -> None:
    """Compare what is installed with a lock FILE; name each difference and exit 1 when there is one."""
    from plugtune import __version__
    from plugtune.plugins import lockfile
    from plugtune.plugins.index import read_index

    core, locked = lockfile.read(Path(file))
    found = lockfile.differences(locked, lockfile.installed(read_index().plugins))
    if core != __version__:
        found.insert(0, f"plugtune was {core} and is {__version__}")
    if as_json:
        emit_json({"file": file, "ok": not found, "differences": found})
    else:
        for text in found:
            click.echo(text)
        click.echo(f"{file}: {len(found)} differences" if found else f"{file}: all {len(locked)} plugins are as locked")
    raise click.exceptions.Exit(1 if found else 0)

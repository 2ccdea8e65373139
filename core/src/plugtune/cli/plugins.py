"""`plugtune plugins`: each plugin, whether it loaded, and why not."""

from __future__ import annotations

import click

from plugtune.cli.output import emit_json, table


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--trace", metavar="NAME", help="Print the traceback of a plugin that failed.")
def command(as_json: bool, trace: str | None) -> None:
    """Installed plugins with version, API, status, reason, and what they provide."""
    from plugtune.errors import PluginError, did_you_mean
    from plugtune.plugins.index import read_index

    plugins = read_index().plugins
    if trace:
        found = next((p for p in plugins if p["name"] == trace), None)
        if found is None:
            raise PluginError(
                f"no plugin {trace!r} is installed", fix=did_you_mean(trace, [p["name"] for p in plugins])
            )
        click.echo(found["trace"] or f"plugin {trace} is {found['status']}: {found['reason'] or 'no traceback'}")
        return
    if as_json:
        internal = ("trace", "root", "signature")
        emit_json([{k: v for k, v in p.items() if k not in internal} for p in plugins])
        return
    rows = []
    for p in plugins:
        provides = "; ".join(f"{kind} {', '.join(names)}" for kind, names in p["provides"].items())
        shown = provides if len(provides) < 80 else provides[:77] + "..."
        rows.append((p["name"], p["version"], p["api"], p["status"], p["reason"] or shown))
        rows += [("", "", "", "note", text) for text in p["notes"]]
    table(["NAME", "VERSION", "API", "STATUS", "PROVIDES / REASON"], rows)

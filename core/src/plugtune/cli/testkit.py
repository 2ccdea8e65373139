"""`plugtune testkit PATH_OR_NAME`: hold a plugin against the conformance kit."""

from __future__ import annotations

import click

from plugtune.cli.output import emit_json


@click.command("testkit")
@click.argument("target")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(target: str, as_json: bool) -> None:
    """Run the conformance kit on TARGET: an installed plugin's name, or a plugin's folder (with its own tests)."""
    from plugtune.testkit.runner import run_kit

    report = run_kit(target)
    if as_json:
        emit_json(report.as_json())
    else:
        for line in report.lines():
            click.echo(line)
    raise click.exceptions.Exit(0 if report.ok else 1)

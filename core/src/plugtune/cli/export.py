"""`plugtune export`: merge or convert a trained model."""

from __future__ import annotations

import click

from plugtune.cli.output import answer_alone, emit_json


@click.command("export", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Merge or convert: plugtune export [CONFIG.yaml] [--flag value ...]"""
    from plugtune.options.reader import read_request

    args = list(arguments)
    if {"--help", "-h"} & set(args) or not args:
        click.echo(_help())
        return
    as_json = "--json" in args
    request = read_request([arg for arg in args if arg != "--json"])
    from plugtune.inference.export import run_export
    from plugtune.plugins.host import PluginHost

    with answer_alone():
        report = run_export(request, PluginHost().load())
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        emit_json(report.as_json())
    else:
        click.echo(f"wrote {report.folder} ({len(report.files)} weight files, {report.total_bytes / 1e6:.1f} MB)")
        if report.verified is not None:
            click.echo(f"verified: {report.verified['verdict']}")
        if report.uploaded:
            click.echo(f"uploaded to {report.uploaded}")


def _help() -> str:
    from plugtune.inference.export import TemplateChoice
    from plugtune.options.groups import ExportOptions, ModelOptions
    from plugtune.options.help import options_help
    from plugtune.options.schema import specs_of

    groups = [(f"{name} options", specs_of(group)) for name, group in
              (("export", ExportOptions), ("model", ModelOptions), ("template", TemplateChoice))]  # fmt: skip
    return "Usage: plugtune export [CONFIG.yaml] [--flag value ...] [--json]\n\n" + options_help(groups)

"""`plugtune train`: one run of any stage and method."""

from __future__ import annotations

import click

from plugtune.cli.output import answer_alone, emit_json

CONTEXT = {"ignore_unknown_options": True, "help_option_names": []}


@click.command("train", context_settings=CONTEXT)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Fine-tune a model: plugtune train [CONFIG.yaml] [--flag value ...] [key=value ...]"""
    args = list(arguments)
    if {"--help", "-h"} & set(args):
        click.echo(train_help())
        return
    dry, as_json = _take(args, "--dry-run", "--dry_run"), _take(args, "--json")
    if not args:
        raise click.UsageError("nothing to train: give a YAML file or flags (plugtune train --help)")
    from plugtune.options.reader import read_request
    from plugtune.plugins.host import PluginHost
    from plugtune.training.launch import handed_down, start_workers, wanted
    from plugtune.training.launchers import chosen, start_elsewhere
    from plugtune.training.run import dry_run, run_training, start
    from plugtune.training.world import is_main

    request = handed_down() or read_request(args)
    host = PluginHost().load()
    launcher = chosen(request, host.catalog)
    launch = wanted(request) if launcher is None else None
    if dry:
        with answer_alone():
            resolved = dry_run(request, host, launch)
        emit_json(resolved)
        return
    if launcher is not None:
        raise SystemExit(start_elsewhere(launcher, request, host, arguments))
    if launch is not None:
        start(request, host, processes=launch.total)  # a wrong request is told before any process is started
        raise SystemExit(start_workers(launch, request, host.lock(), arguments))
    with answer_alone():
        answer = run_training(request, host)
    if as_json and is_main():
        emit_json(answer)
    if answer["status"] == "stopped":
        raise SystemExit(answer["exit_status"])


def _take(args: list[str], *names: str) -> bool:
    found = any(name in args for name in names)
    args[:] = [arg for arg in args if arg not in names]
    return found


def train_help() -> str:
    """Every option by owner, those of installed plugins included; loads no plugin."""
    from plugtune.options.groups import TRAIN_GROUPS
    from plugtune.options.help import options_help
    from plugtune.options.resolve import trainer_specs
    from plugtune.options.schema import OptionSpec, specs_of
    from plugtune.plugins.index import read_index

    groups = [(f"{owner} options", list(specs_of(group, owner))) for owner, group in TRAIN_GROUPS.items()]
    owned = {spec.name for _, specs in groups for spec in specs}
    for kind in ("stage", "method", "optimizer", "launcher"):
        for row in read_index().rows(kind):
            specs = [OptionSpec(**{**o, "choices": tuple(o["choices"])}) for o in row.get("options", [])]
            if specs:
                groups.append((f"{kind} {row['name']} options (plugin {row['plugin']})", specs))
    groups.append(("trainer options", [spec for spec in trainer_specs() if spec.name not in owned]))
    usage = (
        "Usage: plugtune train [CONFIG.yaml] [--flag value ...] [key=value ...] [--dry-run] [--json]\n\n"
        "Later sources win: the file, then flags, then key=value.\n\n"
    )
    return usage + options_help(groups)

"""`plugtune eval`: loss and perplexity, BLEU and ROUGE, multiple choice."""

from __future__ import annotations

from typing import Any

import click

from plugtune.cli.output import answer_alone, emit_json, table


@click.command("eval", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Evaluate: plugtune eval [CONFIG.yaml] --model_name_or_path FOLDER --eval_dataset NAME | --task mmlu_test"""
    args = list(arguments)
    if {"--help", "-h"} & set(args) or not args:
        click.echo(_help())
        return
    as_json = "--json" in args
    from plugtune.options.reader import read_request
    from plugtune.plugins.host import PluginHost

    request = read_request([arg for arg in args if arg != "--json"])
    host = PluginHost().load()
    from plugtune.inference.evaluate import run_eval

    with answer_alone():
        report = run_eval(request, host)
    if as_json:
        emit_json(report)
    elif report["kind"] == "choice":
        _choice(report)
    else:
        rows = [(name, f"{value:.4f}") for name, value in report.items() if isinstance(value, float)]
        table(("score", "value"), [("rows", str(report["rows"])), ("tokens", str(report["tokens"])), *rows])


def _choice(report: dict[str, Any]) -> None:
    rows = [
        (r["subject"], r["group"], r["correct"], r["questions"], f"{r['accuracy']:.2f}") for r in report["subjects"]
    ]
    table(("subject", "group", "correct", "questions", "per cent"), rows)
    click.echo()
    table(("group", "per cent"), [(name, f"{value:.2f}") for name, value in report["accuracy"].items()])


def _help() -> str:
    from plugtune.inference.evaluate import EvalOptions
    from plugtune.options.groups import DataOptions, GenerationOptions, ModelOptions
    from plugtune.options.help import options_help
    from plugtune.options.schema import specs_of

    groups = (("eval", EvalOptions), ("model", ModelOptions), ("data", DataOptions), ("generation", GenerationOptions))
    usage = "Usage: plugtune eval [CONFIG.yaml] --model_name_or_path FOLDER [--flag value ...] [--json]\n\n"
    return usage + options_help([(f"{name} options", specs_of(group)) for name, group in groups])

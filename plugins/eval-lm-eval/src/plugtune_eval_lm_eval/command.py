"""`plugtune lm-eval`: reads the options, prints and keeps the report. Knows nothing of models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from plugtune import RequestError
from plugtune.cli.output import emit_json, table
from plugtune.options.groups import ModelOptions
from plugtune.options.reader import Request, read_request
from plugtune.options.resolve import resolve

from plugtune_eval_lm_eval.options import HarnessOptions


@click.command("lm-eval", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Evaluate with the harness: plugtune lm-eval [CONFIG.yaml] --model_name_or_path FOLDER --tasks NAME,NAME"""
    args = list(arguments)
    if {"--help", "-h"} & set(args) or not args:
        click.echo(_help())
        return
    as_json = "--json" in args
    report = run(read_request([arg for arg in args if arg != "--json"]))
    if as_json:
        emit_json(report)
        return
    rows = [
        (task, name, f"{value:.4f}", f"± {found['errors'][name]:.4f}" if name in found["errors"] else "", found["rows"])
        for task, found in report["tasks"].items()
        for name, value in found["scores"].items()
    ]
    table(("task", "score", "value", "error", "rows"), rows)


def run(request: Request) -> dict[str, Any]:
    """Evaluate as asked; returns the report.

    Raises:
        PlugtuneError: an option, a task or the model is wrong.
    """
    groups = resolve(request, _groups()).groups
    options, model = groups["lm-eval"], groups["model"]
    if not model.model_name_or_path:
        raise RequestError("no model", where="model_name_or_path", fix="add --model_name_or_path FOLDER")
    if not options.tasks:
        raise RequestError("no tasks", where="tasks", fix="add --tasks NAME,NAME")
    folder = _new_folder(options.save_dir)
    from plugtune.plugins.host import PluginHost

    from plugtune_eval_lm_eval.tasks import find_tasks

    manager = find_tasks(options)  # wrong names are told before a weight is read
    from plugtune_eval_lm_eval.harness import evaluate

    report, samples = evaluate(options, model, groups["template"], manager, PluginHost().load())
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in (("results.json", report), ("answers.json", samples)):
            (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n", "utf-8")
    return report


def _groups() -> dict[str, type]:
    from plugtune.inference.export import TemplateChoice

    return {"lm-eval": HarnessOptions, "model": ModelOptions, "template": TemplateChoice}


def _new_folder(name: str | None) -> Path | None:
    if name is None:
        return None
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"save_dir {folder} is not empty", where="save_dir", fix="choose a new folder")
    return folder


def _help() -> str:
    from plugtune.options.help import options_help
    from plugtune.options.schema import specs_of

    usage = "Usage: plugtune lm-eval [CONFIG.yaml] --model_name_or_path FOLDER --tasks NAME,NAME [--json]\n\n"
    return usage + options_help([(f"{name} options", specs_of(group)) for name, group in _groups().items()])

"""`plugtune template render|check`: see what a template writes, and hold it against its examples and a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from plugtune.cli.output import emit_json


@click.group("template")
def command() -> None:
    """Render and check chat templates."""


@command.command("render")
@click.argument("name")
@click.option("--messages", "file", required=True, help="JSON file with messages and tools in the OpenAI shape.")
@click.option("--tokenizer", "folder", help="Model folder; adds token ids and labels.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def render_command(name: str, file: str, folder: str | None, as_json: bool) -> None:
    """Show a conversation as the template NAME (or YAML file) writes it."""
    from plugtune.plugins.host import PluginHost
    from plugtune.templating import choose
    from plugtune.templating.openai import conversation_of
    from plugtune.templating.render import RenderOptions, render, segments, written

    template = choose.find(name, PluginHost().load().catalog)
    conversation = conversation_of(_read(file))
    tokenizer = _tokenizer(folder) if folder else None
    bos = (tokenizer.bos_token or "") if tokenizer else "<s>"
    eos = (tokenizer.eos_token or "") if tokenizer else "</s>"
    if template.replace_eos and template.stop:
        eos = template.stop[0]
    from plugtune.data.records import RowError
    from plugtune.errors import RequestError

    try:
        turns = render(template, conversation, RenderOptions())
    except RowError as error:
        raise RequestError(f"the conversation cannot be written: {error}", where=file, fix=error.fix) from error
    parts = [{"text": written(s.piece, bos, eos), "train": s.train} for s in segments(template, turns)]
    answer: dict[str, Any] = {
        "template": template.name, "segments": parts, "text": "".join(str(p["text"]) for p in parts),
        "stop": list(template.stop),
    }  # fmt: skip
    if tokenizer is not None:
        from plugtune.data.lengths import LengthRules, assemble
        from plugtune.templating.bound import BoundTemplate

        chat = BoundTemplate(template, tokenizer).encode([conversation])[0]
        if isinstance(chat, RowError):
            raise RequestError(f"the conversation cannot be written: {chat}", where=file)
        rows = assemble(chat, LengthRules(1 << 30))
        answer |= {k: rows[0].columns[k] for k in ("input_ids", "labels")} if isinstance(rows, list) else {}
    if as_json:
        emit_json(answer)
        return
    for part in parts:
        click.echo(click.style(str(part["text"]), fg="green" if part["train"] else None), nl=False)
    click.echo()


@command.command("check")
@click.argument("name")
@click.option("--tokenizer", "folder", help="Model folder whose own chat template is compared token by token.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check_command(name: str, folder: str | None, as_json: bool) -> None:
    """Check a template against its examples and, with --tokenizer, against that tokenizer's own chat template."""
    from plugtune.plugins.host import PluginHost
    from plugtune.templating import choose
    from plugtune.templating.examples import failures

    template = choose.find(name, PluginHost().load().catalog)
    wrong = failures(template)
    answer: dict[str, Any] = {"template": template.name, "examples": len(template.examples), "failures": wrong}
    if folder:
        from plugtune.templating.bound import BoundTemplate
        from plugtune.templating.verify import first_difference

        tokenizer = _tokenizer(folder)
        bound = BoundTemplate(template, tokenizer)
        answer["missing_tokens"] = bound.missing_tokens()
        own = tokenizer.chat_template
        difference = first_difference(bound, own) if isinstance(own, str) else None
        answer["tokenizer"] = str(difference) if difference else ("equal" if own else "it has no chat template")
    bad = bool(wrong) or (folder is not None and answer["tokenizer"] not in ("equal", "it has no chat template"))
    if as_json:
        emit_json({**answer, "ok": not bad})
    else:
        click.echo(f"template {template.name}: {answer['examples']} examples, {len(wrong)} wrong")
        for text in wrong:
            click.echo(f"  {text}")
        if folder:
            click.echo(f"against the tokenizer's own template: {answer['tokenizer']}")
    raise click.exceptions.Exit(1 if bad else 0)


def _read(file: str) -> Any:
    from plugtune.errors import RequestError

    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RequestError(f"file {file} does not exist", where="--messages") from error
    except ValueError as error:
        raise RequestError(f"file {file} is not valid JSON", where="--messages", why=str(error)) from error


def _tokenizer(folder: str) -> Any:
    from plugtune.modeling.locate import Located
    from plugtune.modeling.tokenizer import load_tokenizer
    from plugtune.options.groups import ModelOptions

    return load_tokenizer(Located(Path(folder), None, {}, None), ModelOptions())

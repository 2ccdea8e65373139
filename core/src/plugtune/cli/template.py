"""`plugtune template render|check`: see what a template writes, and hold it against its examples and a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from plugtune.cli.output import emit_json


def _choices(function: Callable[..., None]) -> Callable[..., None]:
    """The options of a run that change what a template writes."""
    options = (
        click.option("--tool_format", "--tool-format", help="How tools are written, instead of the template's way."),
        click.option("--default_system", "--default-system", help="System prompt of conversations that name none."),
        click.option(
            "--enable_thinking", "--enable-thinking", type=bool, default=True, show_default=True,
            help="Thinking mode of reasoning templates.",
        ),
        click.option("--json", "as_json", is_flag=True, help="One JSON document."),
    )  # fmt: skip
    for option in options:
        function = option(function)
    return function


@click.group("template")
def command() -> None:
    """Render and check chat templates."""


@command.command("render")
@click.argument("name")
@click.option("--messages", "file", required=True, help="JSON file with messages and tools in the OpenAI shape.")
@click.option("--tokenizer", "folder", help="Model folder; adds token ids and labels.")
@_choices
def render_command(name: str, file: str, folder: str | None, as_json: bool, **choices: Any) -> None:
    """Show a conversation as the template NAME (or YAML file) writes it; auto is the tokenizer's own."""
    from plugtune.data.records import RowError
    from plugtune.errors import RequestError
    from plugtune.plugins.host import PluginHost
    from plugtune.templating import choose, show
    from plugtune.templating.openai import conversation_of

    catalog = PluginHost().load().catalog
    value = _read(file)
    try:
        conversation = conversation_of(value)
    except RequestError as error:
        raise RequestError("the file holds no conversation", where=file, why=str(error)) from error
    try:
        if folder is None:
            answer = show.without_tokenizer(choose.find(name, catalog), conversation, _options(choices))
        else:
            answer = show.with_tokenizer(choose.bind(name, catalog, _tokenizer(folder), **choices), conversation)
    except RowError as error:
        raise RequestError(f"the conversation cannot be written: {error}", where=file, fix=error.fix) from error
    if as_json:
        emit_json(answer)
        return
    for part in answer["segments"]:
        click.echo(click.style(str(part["text"]), fg="green" if part["train"] else None), nl=False)
    click.echo()
    if answer.get("unlearnable"):
        click.echo(f"{answer['unlearnable']} answers cannot be trained on with this template", err=True)


@command.command("check")
@click.argument("name")
@click.option("--tokenizer", "folder", help="Model folder whose own chat template is compared token by token.")
@_choices
def check_command(name: str, folder: str | None, as_json: bool, **choices: Any) -> None:
    """Check a template against its examples and, with --tokenizer, against that tokenizer's own chat template.

    With NAME auto: whether the tokenizer's own chat template shows where the answers are, so that it can be trained.
    """
    from plugtune.plugins.host import PluginHost
    from plugtune.templating import check, choose

    catalog = PluginHost().load().catalog
    if folder is not None and name == choose.AUTO:
        report = check.check_auto(choose.bind(name, catalog, _tokenizer(folder), **choices))
    else:
        template = choose.find(name, catalog)
        report = check.check_named(template, _options(choices), _tokenizer(folder) if folder else None)
    if as_json:
        emit_json(report.as_json())
    else:
        for line in report.lines():
            click.echo(line)
    if not report.ok:
        raise SystemExit(1)


def _options(choices: dict[str, Any]) -> Any:
    from plugtune.templating.choose import tool_style
    from plugtune.templating.render import RenderOptions

    return RenderOptions(choices["default_system"], choices["enable_thinking"], tool_style(choices["tool_format"]))


def _read(file: str) -> Any:
    from plugtune.errors import RequestError

    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RequestError(f"file {file} does not exist", where="--messages") from error
    except OSError as error:
        raise RequestError(f"file {file} cannot be read", where="--messages", why=str(error)) from error
    except ValueError as error:
        raise RequestError(f"file {file} is not valid JSON", where="--messages", why=str(error)) from error


def _tokenizer(folder: str) -> Any:
    from plugtune.modeling.locate import Located
    from plugtune.modeling.tokenizer import load_tokenizer
    from plugtune.options.groups import ModelOptions

    return load_tokenizer(Located(Path(folder), None, {}, None), ModelOptions())

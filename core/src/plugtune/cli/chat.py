"""`plugtune chat`: talk to a model in the terminal."""

from __future__ import annotations

import sys
from typing import Any

import click

from plugtune.cli.output import emit_json


@click.command("chat", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Chat: plugtune chat --model_name_or_path FOLDER [--adapter_name_or_path FOLDER] [--prompt TEXT] [--json]"""
    from plugtune.inference.export import TemplateChoice
    from plugtune.options.groups import GenerationOptions, ModelOptions
    from plugtune.options.reader import Request, read_request
    from plugtune.options.resolve import resolve
    from plugtune.plugins.host import PluginHost

    args = list(arguments)
    if {"--help", "-h"} & set(args) or not args:
        click.echo(_help())
        return
    as_json = "--json" in args
    request = read_request([arg for arg in args if arg != "--json"])
    prompt, system, seed = (request.values.pop(name, None) for name in ("prompt", "system", "seed"))
    groups: dict[str, type] = {"model": ModelOptions, "generation": GenerationOptions, "template": TemplateChoice}
    resolved = resolve(Request(request.values), groups, known_elsewhere=("prompt", "system", "seed"))
    host = PluginHost().load()
    from plugtune.errors import RequestError

    if not resolved.groups["model"].model_name_or_path:
        raise RequestError("no model", where="model_name_or_path", fix="add --model_name_or_path FOLDER")
    from plugtune.inference.engine import open_engine

    engine = open_engine(resolved.groups["model"], resolved.groups["template"], host)
    if seed is not None:
        from transformers import set_seed

        set_seed(int(seed.value))
    talk = _Talk(engine, resolved.groups["generation"], str(system.value) if system else None)
    if prompt is not None:
        questions = prompt.value if isinstance(prompt.value, list) else [prompt.value]
        answers = [talk.ask(str(question), show=not as_json) for question in questions]
        if as_json:
            emit_json([{"prompt": q, "answer": a} for q, a in zip(questions, answers, strict=True)])
        return
    _loop(talk)


class _Talk:
    """The history of one conversation."""

    def __init__(self, engine: Any, options: Any, system: str | None) -> None:
        self.engine, self.options, self.system = engine, options, system
        self.messages: list[Any] = []

    def ask(self, question: str, *, show: bool) -> str:
        """Ask, show the answer as it comes, remember both."""
        from plugtune.data.records import Conversation, Message

        start = [Message("system", self.system)] if self.system is not None else []
        self.messages.append(Message("user", question))
        parts = []
        for piece in self.engine.stream(Conversation((*start, *self.messages)), self.options):
            parts.append(piece)
            if show:
                click.echo(piece, nl=False)
        if show:
            click.echo()
        answer = "".join(parts)
        self.messages.append(Message("assistant", answer))
        return answer


def _loop(talk: _Talk) -> None:
    interactive = sys.stdin.isatty()
    if interactive:
        click.echo("/clear forgets the conversation, /system TEXT sets the system prompt, /exit leaves", err=True)
    while True:
        try:
            line = input("> " if interactive else "")
        except (EOFError, KeyboardInterrupt):
            return
        word, _, rest = line.strip().partition(" ")
        if word in ("/exit", "/quit", "exit", "quit"):
            return
        if word in ("/clear", "clear"):
            talk.messages.clear()
        elif word == "/system":
            talk.system = rest
            talk.messages.clear()
        elif line.strip():
            talk.ask(line, show=True)


def _help() -> str:
    from plugtune.inference.export import TemplateChoice
    from plugtune.options.groups import GenerationOptions, ModelOptions
    from plugtune.options.help import options_help
    from plugtune.options.schema import specs_of

    groups = [(f"{name} options", specs_of(group)) for name, group in
              (("generation", GenerationOptions), ("model", ModelOptions), ("template", TemplateChoice))]  # fmt: skip
    usage = "Usage: plugtune chat [--flag value ...] [--prompt TEXT] [--system TEXT] [--seed N] [--json]\n\n"
    return usage + options_help(groups)

"""`plugtune chat`: talk to a model in the terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from plugtune.cli.output import answer_alone, emit_json
from plugtune.errors import PlugtuneError, RequestError, did_you_mean


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
    if not resolved.groups["model"].model_name_or_path:
        raise RequestError("no model", where="model_name_or_path", fix="add --model_name_or_path FOLDER")
    from plugtune.inference.engine import open_engine

    with answer_alone():
        engine = open_engine(resolved.groups["model"], resolved.groups["template"], host)
    talk = _Talk(
        engine, resolved.groups["generation"], str(system.value) if system else None,
        int(seed.value) if seed is not None else None,
    )  # fmt: skip
    if prompt is not None:
        questions = prompt.value if isinstance(prompt.value, list) else [prompt.value]
        answers = [talk.ask(str(question), show=not as_json) for question in questions]
        if as_json:
            emit_json([{"prompt": q, "answer": a} for q, a in zip(questions, answers, strict=True)])
        return
    _loop(talk)


class _Talk:
    """The history of one conversation."""

    def __init__(self, engine: Any, options: Any, system: str | None, seed: int | None = None) -> None:
        self.engine, self.options, self.system, self.seed = engine, options, system, seed
        self.messages: list[Any] = []

    def ask(self, question: str, *, show: bool) -> str:
        """Ask, show the answer as it comes, remember both. Ctrl-C ends the answer; what came of it is kept."""
        from plugtune.data.records import Conversation, Message

        start = [Message("system", self.system)] if self.system is not None else []
        self.messages.append(Message("user", question))
        parts: list[str] = []
        seed = None if self.seed is None else self.seed + len(self.messages) // 2
        pieces = self.engine.stream(Conversation((*start, *self.messages)), self.options, seed=seed)
        try:
            for piece in pieces:
                parts.append(piece)
                if show:
                    click.echo(piece, nl=False)
        except KeyboardInterrupt:
            if not show:
                raise
            click.echo(" [stopped]", nl=False)
        except BaseException:
            self.messages.pop()  # a question without an answer would spoil every later prompt
            raise
        finally:
            pieces.close()
        if show:
            click.echo()
        answer = "".join(parts)
        self.messages.append(Message("assistant", answer))
        return answer

    def take_back(self) -> str | None:
        """Forget the last question and its answer; returns the question."""
        if not self.messages:
            return None
        question: str = self.messages[-2].content
        del self.messages[-2:]
        return question


COMMANDS = """/help            this list
/clear           forget the conversation
/system TEXT     set the system prompt and forget the conversation
/set NAME VALUE  change a generation option (temperature, top_p, max_new_tokens ...)
/retry           answer the last question again
/undo            forget the last question and answer
/history         show the conversation
/save FILE       write it as JSON, in the OpenAI shape
/exit            leave (so does Ctrl-D)
A line that ends with a backslash goes on in the next line; three quotes begin and end a text of several lines.
Ctrl-C stops an answer."""


def _loop(talk: _Talk) -> None:
    interactive = sys.stdin.isatty()
    if interactive:
        click.echo("/help lists the commands, /exit leaves, Ctrl-C stops an answer", err=True)
    while True:
        try:
            text = _read("> " if interactive else "")
        except EOFError:
            return
        except KeyboardInterrupt:
            click.echo(err=True)
            continue
        if text.strip() in ("exit", "quit", "/exit", "/quit"):
            return
        if text.strip() == "clear" or (text.startswith("/") and not text.startswith("//")):
            _obey(talk, text.strip())
        elif text.strip():
            _tell_errors(lambda text=text: talk.ask(text, show=True))


def _read(prompt: str) -> str:
    """A line, or several: after a backslash at the end, or between lines of three quotes."""
    line = input(prompt)
    lines = []
    if line.strip().startswith('"""'):
        line = line.strip()[3:]
        while not line.rstrip().endswith('"""'):
            lines.append(line)
            line = input("... " if prompt else "")
        lines.append(line.rstrip()[:-3])
        return "\n".join(lines).strip("\n")
    while line.endswith("\\"):
        lines.append(line[:-1])
        line = input("... " if prompt else "")
    return "\n".join([*lines, line])


def _obey(talk: _Talk, text: str) -> None:
    word, _, rest = text.partition(" ")
    actions = {
        "/help": lambda: click.echo(COMMANDS, err=True),
        "/clear": talk.messages.clear,
        "clear": talk.messages.clear,
        "/system": lambda: _system(talk, rest),
        "/set": lambda: _set(talk, rest),
        "/retry": lambda: _retry(talk),
        "/undo": talk.take_back,
        "/history": lambda: _history(talk),
        "/save": lambda: _save(talk, rest.strip()),
    }
    if word not in actions:
        click.echo(f"unknown command {word}; {did_you_mean(word, actions) or '/help lists them'}", err=True)
        return
    _tell_errors(actions[word])


def _tell_errors(work: Any) -> None:
    """A wrong command or a question that the template refuses does not end the conversation."""
    from plugtune.data.records import RowError

    try:
        work()
    except (PlugtuneError, RowError, OSError) as error:
        click.echo(f"error: {error}", err=True)


def _history(talk: _Talk) -> None:
    for message in talk.messages:
        click.echo(f"{message.role}: {message.content}")


def _system(talk: _Talk, text: str) -> None:
    talk.system = text or None
    talk.messages.clear()


def _set(talk: _Talk, rest: str) -> None:
    from plugtune.options.groups import GenerationOptions
    from plugtune.options.reader import Given, Request
    from plugtune.options.resolve import resolve

    name, _, value = rest.strip().partition(" ")
    given = {name.replace("-", "_"): Given(value.strip(), "/set")}
    changed = resolve(Request(given), {"generation": GenerationOptions})
    for option in changed.given:
        setattr(talk.options, option, changed.given[option][0])


def _retry(talk: _Talk) -> None:
    question = talk.take_back()
    if question is not None:
        talk.ask(question, show=True)


def _save(talk: _Talk, name: str) -> None:
    if not name:
        raise RequestError("no file to write", fix="/save FILE.json")
    start = [{"role": "system", "content": talk.system}] if talk.system else []
    messages = [*start, *({"role": m.role, "content": m.content} for m in talk.messages)]
    Path(name).expanduser().write_text(json.dumps({"messages": messages}, ensure_ascii=False, indent=1), "utf-8")


def _help() -> str:
    from plugtune.inference.export import TemplateChoice
    from plugtune.options.groups import GenerationOptions, ModelOptions
    from plugtune.options.help import options_help
    from plugtune.options.schema import specs_of

    groups = [(f"{name} options", specs_of(group)) for name, group in
              (("generation", GenerationOptions), ("model", ModelOptions), ("template", TemplateChoice))]  # fmt: skip
    usage = "Usage: plugtune chat [--flag value ...] [--prompt TEXT] [--system TEXT] [--seed N] [--json]\n\n"
    return usage + options_help(groups)

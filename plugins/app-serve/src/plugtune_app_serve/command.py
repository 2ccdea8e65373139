"""`plugtune serve`: reads the options, loads the model and listens."""

from __future__ import annotations

import secrets
import socket
import sys
import time
from pathlib import Path
from typing import Any

import click
from plugtune import RequestError
from plugtune.options.groups import GenerationOptions, ModelOptions
from plugtune.options.reader import Given, Request, read_request
from plugtune.options.resolve import resolve
from plugtune.visitors import LOOPBACK

from plugtune_app_serve.options import ServeOptions, from_environment


@click.command("serve", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Serve a model: plugtune serve [CONFIG.yaml] --model_name_or_path FOLDER [--flag value ...]"""
    args = list(arguments)
    if {"--help", "-h"} & set(args) or not args:
        click.echo(_help())
        return
    request = read_request(args)
    groups = resolve(_with_environment(request), _groups()).groups
    model, options = groups["model"], groups["serve"]
    _check(model, options)
    if options.infer_backend == "vllm":
        from plugtune_app_serve.proxy import check_backend, make_proxy

        names = check_backend(options.vllm_url)
        _listen(lambda ready: make_proxy(options), options, f"{', '.join(names)} through vLLM at {options.vllm_url}")
        return
    sock = _bind(options)  # a taken port is told before the model is loaded
    from plugtune.plugins.host import PluginHost

    from plugtune_app_serve.app import make_app

    served = load(model, options, groups["generation"], groups["template"], PluginHost().load())
    _listen(lambda ready: make_app(served, ready), options, ", ".join(served.names), sock)


def load(model: Any, options: ServeOptions, generation: Any, template: Any, host: Any) -> Any:
    """The model, ready to be served.

    Raises:
        RequestError: the model, an adapter or the value head is wrong.
    """
    from plugtune.inference.batch import Limits
    from plugtune.inference.engine import open_model
    from plugtune.inference.scheduler import Scheduler

    from plugtune_app_serve.state import Served

    engine = open_model(model, template, host, named=adapters_of(options))
    head = None
    if options.stage == "rm":
        from plugtune.modeling.value_head import head_for

        folders = [Path(model.adapter_folder or "") / name for name in reversed(model.adapter_name_or_path)]
        head, found = head_for(engine.model, [*folders, Path(str(model.model_name_or_path))], where="stage")
        if found is None:
            raise RequestError(
                "this is no reward model", where="stage", why="there is no value_head.safetensors beside the weights",
                fix="train one with --stage rm, or leave stage out",
            )  # fmt: skip
    limits = Limits(rows=options.max_concurrent, tokens=options.max_batch_tokens)
    scheduler = Scheduler(engine, limits=limits, max_waiting=options.max_queue)
    name = options.served_model_name or Path(str(model.model_name_or_path).rstrip("/")).name
    return Served(engine, scheduler, options, generation, name, head, int(time.time()))


def adapters_of(options: ServeOptions) -> list[tuple[str, str]]:
    """Named adapters: (name, folder).

    Raises:
        RequestError: one has another form, or a name stands twice.
    """
    pairs = []
    for item in options.adapters:
        name, colon, folder = item.partition(":")
        if not colon or not name or "." in name or name in ("default", "-"):
            raise RequestError(f"{item!r} is not NAME:FOLDER", where="adapters", fix="names have no dots")
        if not (Path(folder) / "adapter_config.json").is_file():
            raise RequestError(f"{folder} holds no adapter", where="adapters", why="there is no adapter_config.json")
        pairs.append((name, folder))
    if len({name for name, _ in pairs}) < len(pairs):
        raise RequestError("two adapters have the same name", where="adapters")
    return pairs


def _groups() -> dict[str, type]:
    from plugtune.inference.export import TemplateChoice

    return {"serve": ServeOptions, "model": ModelOptions, "generation": GenerationOptions, "template": TemplateChoice}


def _with_environment(request: Request) -> Request:
    given = {name: Given(value, where) for name, (value, where) in from_environment().items()}
    return Request({**given, **request.values})


def _check(model: Any, options: ServeOptions) -> None:
    if not model.model_name_or_path and options.infer_backend != "vllm":
        raise RequestError("no model", where="model_name_or_path", fix="add --model_name_or_path FOLDER")
    if options.stage not in ("sft", "rm", "pt"):
        raise RequestError(f"stage {options.stage!r} is not served", where="stage", fix="leave it out, or write rm")
    if options.api_key is not None and not options.api_key.isascii():
        raise RequestError("the API key must be ASCII", where="api_key")


def _bind(options: ServeOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((options.host.strip("[]"), options.port))
    except OSError as error:
        sock.close()
        raise RequestError(
            f"cannot listen on {options.host}:{options.port}", where="port", why=str(error),
            fix="choose another --port, or 0 for a free one",
        ) from error  # fmt: skip
    return sock


def _listen(make: Any, options: ServeOptions, what: str, sock: socket.socket | None = None) -> None:
    import uvicorn

    sock = sock or _bind(options)
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    made = protect(options)

    def ready() -> None:
        sock.listen(128)  # whoever reads the address finds it open: the loop takes it over in a moment
        print(f"serving {what} on http://{shown}:{port}/v1", file=sys.stderr, flush=True)
        if made:
            print(f"note: others reach this address, so a key was made: --api_key {options.api_key}", file=sys.stderr)
        elif not options.api_key and options.host.strip("[]") not in LOOPBACK:
            print("note: everybody who reaches this address may use it; --api_key KEY asks for a key", file=sys.stderr)

    app = make(ready)
    if options.infer_backend == "vllm":
        ready()
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[sock])


def protect(options: ServeOptions) -> bool:
    """Give a server that others can reach a key of its own, unless it has one or is meant to be open; says whether."""
    if options.api_key or options.open_to_all or options.host.strip("[]") in LOOPBACK:
        return False
    options.api_key = secrets.token_urlsafe(24)
    return True


def _help() -> str:
    from plugtune.options.help import options_help
    from plugtune.options.schema import specs_of

    usage = "Usage: plugtune serve [CONFIG.yaml] --model_name_or_path FOLDER [--flag value ...]\n\n"
    return usage + options_help([(f"{name} options", specs_of(group)) for name, group in _groups().items()])

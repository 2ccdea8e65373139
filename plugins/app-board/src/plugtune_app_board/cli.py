"""`plugtune board` and `plugtune webchat`: how they are started."""

from __future__ import annotations

import os
from typing import Any

import click


def _address(command: Any) -> Any:
    """The options of both commands."""
    for decorate in reversed((
        click.option("--host", help="Address to listen on.  [default: 127.0.0.1, or GRADIO_SERVER_NAME]"),
        click.option("--port", type=click.IntRange(0, 65535), help="Port.  [default: 7860, or GRADIO_SERVER_PORT]"),
        click.option("--auth", metavar="USER:PASSWORD", help="Ask for a login (or set PLUGTUNE_BOARD_AUTH)."),
        click.option("--allowed-host", multiple=True, help="A DNS name under which browsers may address it."),
        click.option("--lang", type=click.Choice(["en", "ru", "zh"]), help="Language of the page."),
    )):  # fmt: skip
        command = decorate(command)
    return command


@click.command("board")
@_address
@click.option("--work-dir", default=".", show_default=True, help="Working folder: data, saves and models are below it.")
@click.option("--allow-root", multiple=True, help="A further folder whose files the page may name.")
@click.option("--allow-remote-code", is_flag=True, help="Let the page run code that comes with models and data sets.")
@click.option("--demo", is_flag=True, help="Show everything, start nothing.")
def board(
    host: str | None, port: int | None, auth: str | None, allowed_host: tuple[str, ...], lang: str | None,
    work_dir: str, allow_root: tuple[str, ...], allow_remote_code: bool, demo: bool,
) -> None:  # fmt: skip
    """Open the web board.

    It listens on 127.0.0.1. PLUGTUNE_BOARD_TOKEN sets the secret that its address must carry; a board that others can
    reach and that has neither login nor token makes itself a token and prints it.
    """
    from plugtune_app_board.settings import read_settings

    settings = read_settings(
        host=host, port=port, auth=auth, work=work_dir, allow_root=allow_root, allowed_host=allowed_host,
        allow_code=allow_remote_code, demo=demo,
    )  # fmt: skip
    from plugtune.plugins.host import PluginHost

    os.chdir(settings.work)
    from plugtune_app_board.server import serve  # before Gradio: it sets what Gradio reads when it is imported

    from plugtune_app_board.app import board_page  # isort: skip
    from plugtune_app_board.board import Board  # isort: skip

    opened = Board.open(settings, PluginHost().load())
    if lang:
        opened.remember(lang=lang)
    opened.jobs.watch()
    serve(board_page(opened), settings)


@click.command("webchat", context_settings={"ignore_unknown_options": True})
@_address
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def webchat(
    host: str | None, port: int | None, auth: str | None, allowed_host: tuple[str, ...], lang: str | None,
    arguments: tuple[str, ...],
) -> None:  # fmt: skip
    """Open a web page that chats: plugtune webchat --model_name_or_path FOLDER [--adapter_name_or_path FOLDER]"""
    from plugtune.errors import RequestError
    from plugtune.options.reader import read_request
    from plugtune.plugins.host import PluginHost

    from plugtune_app_board.settings import read_settings

    options = {name: given.value for name, given in read_request(list(arguments)).values.items()}
    if not options.get("model_name_or_path"):
        raise RequestError("no model", where="model_name_or_path", fix="add --model_name_or_path FOLDER")
    settings = read_settings(host=host, port=port, auth=auth, allowed_host=allowed_host)
    from plugtune_app_board.server import serve

    from plugtune_app_board.app import chat_page  # isort: skip
    from plugtune_app_board.board import Board  # isort: skip

    opened = Board.open(settings, PluginHost().load())
    opened.talk.open(options)
    serve(chat_page(opened, lang or "en"), settings)

"""The web board: which commands it adds. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_commands() -> list[plugtune.Command]:
    """The commands `board` and `webchat`."""
    return [
        plugtune.Command(
            name="board", summary="Open the web board: train, watch, chat, evaluate, export",
            target="plugtune_app_board.cli:board",
        ),
        plugtune.Command(
            name="webchat", summary="Open a web page that chats with one model", target="plugtune_app_board.cli:webchat"
        ),
    ]  # fmt: skip

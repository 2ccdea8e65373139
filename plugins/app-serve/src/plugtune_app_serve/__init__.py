"""The command `serve`. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_commands() -> list[plugtune.Command]:
    """The command `serve`."""
    return [
        plugtune.Command(
            name="serve", summary="Serve a model over HTTP with the OpenAI API",
            target="plugtune_app_serve.command:command",
        )
    ]  # fmt: skip

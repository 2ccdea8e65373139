"""The command `lm-eval`. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_commands() -> list[plugtune.Command]:
    """The command `lm-eval`."""
    return [
        plugtune.Command(
            name="lm-eval", summary="Evaluate with tasks of EleutherAI's harness, or of your own in its form",
            target="plugtune_eval_lm_eval.command:command",
        )
    ]  # fmt: skip

"""Freeze fine-tuning: its options and where its code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune


@dataclass
class FreezeOptions:
    """Which blocks and modules are trained."""

    freeze_trainable_layers: int = plugtune.option(
        2, help="How many of the last blocks are trained; negative for the first ones."
    )
    freeze_trainable_modules: list[str] = plugtune.option(
        ["all"], help="Which modules of those blocks are trained; a comma list, or all."
    )
    freeze_extra_modules: list[str] = plugtune.option(
        [], help="Modules outside the blocks that are trained too (embed_tokens, norm, lm_head …); a comma list."
    )


@plugtune.hookimpl
def plugtune_methods() -> list[plugtune.TuningMethod]:
    """The method `freeze`."""
    return [
        plugtune.TuningMethod(
            name="freeze",
            summary="Train some blocks, freeze the rest",
            options=FreezeOptions,
            prepare="plugtune_method_freeze.method:prepare",
            sizes="plugtune_method_freeze.sizes:sizes",
        )
    ]

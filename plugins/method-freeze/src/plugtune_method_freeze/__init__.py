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
    use_llama_pro: bool = plugtune.option(
        False, help="Train the blocks that `plugtune export --exporter expanded` has added (LLaMA Pro)."
    )


@dataclass
class ExpandOptions:
    """How far a model is expanded."""

    expand_blocks: int = plugtune.option(8, help="Blocks to add; divides the number of blocks.", minimum=1)


@plugtune.hookimpl
def plugtune_exporters() -> list[plugtune.Exporter]:
    """The exporter `expanded`."""
    return [
        plugtune.Exporter(
            name="expanded",
            summary="LLaMA Pro: the model with further blocks that change nothing until they are trained",
            options=ExpandOptions,
            writes="model*.safetensors, config.json, tokenizer",
            export="plugtune_method_freeze.expand:export",
        )
    ]


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

"""LoRA and QLoRA: their options and where their code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune


@dataclass
class LoraOptions:
    """The adapter's shape and kind, with LLaMA-Factory's names and defaults."""

    lora_rank: int = plugtune.option(8, help="Rank of the adapter.", minimum=1)
    lora_alpha: int | None = plugtune.option(
        None, help="Scale of the adapter; twice the rank when left out.", minimum=1
    )
    lora_dropout: float = plugtune.option(0.0, help="Dropout before the adapter.", minimum=0, maximum=1)
    lora_target: list[str] = plugtune.option(
        ["all"], help="Modules that get an adapter; a comma list, or all linear ones."
    )
    additional_target: list[str] = plugtune.option([], help="Modules trained whole and saved with the adapter.")
    use_rslora: bool = plugtune.option(False, help="Scale by alpha / sqrt(rank) (arXiv:2312.03732).")
    use_dora: bool = plugtune.option(False, help="Weight-decomposed adapters (arXiv:2402.09353).")
    pissa_init: bool = plugtune.option(False, help="Start from principal singular values (arXiv:2404.02948).")
    pissa_iter: int = plugtune.option(16, help="Iterations of PiSSA's fast SVD; -1 for the exact one.")
    loraplus_lr_ratio: float | None = plugtune.option(
        None, help="LoRA+: learning rate of B relative to A (arXiv:2402.12354).", minimum=0
    )
    loraplus_lr_embedding: float = plugtune.option(1e-6, help="LoRA+: learning rate of embedding adapters.", minimum=0)
    create_new_adapter: bool = plugtune.option(False, help="Merge the given adapters and start a new one.")


@plugtune.hookimpl
def plugtune_methods() -> list[plugtune.TuningMethod]:
    """The method `lora`."""
    return [
        plugtune.TuningMethod(
            name="lora",
            summary="Train low-rank adapters; QLoRA over a 4- or 8-bit base",
            options=LoraOptions,
            quantization=(4, 8),
            prepare="plugtune_method_lora.method:prepare",
            saves_adapter=True,
            sizes="plugtune_method_lora.sizes:sizes",
        )
    ]

"""LLaMA 1 to 4, Chinese LLaMA and Alpaca, MobileLLM, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """llama, llama4."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="llama",
            summary="LLaMA 1, 2, 3 and other checkpoints of the same architecture",
            models=models["llama"],
            template="llama3",
            model_types=("llama",),
            architectures=("LlamaForCausalLM",),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="llama4",
            summary="LLaMA 4 (text) and MobileLLM-R1",
            models=models["llama4"],
            template="llama4",
            model_types=("llama4", "llama4_text"),
            architectures=("Llama4ForCausalLM", "Llama4ForConditionalGeneration"),
            lora_targets=STANDARD,
            unadapted=("router",),
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

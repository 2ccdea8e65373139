"""SmolLM, SmolLM2 and SmolLM3, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """smollm, smollm3."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="smollm",
            summary="SmolLM and SmolLM2 (LLaMA architecture)",
            models=models["smollm"],
            template="smollm2",
            like=("llama",),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="smollm3",
            summary="SmolLM3",
            models=models["smollm3"],
            model_types=("smollm3",),
            architectures=("SmolLM3ForCausalLM",),
            lora_targets=STANDARD,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

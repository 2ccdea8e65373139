"""Mistral, Ministral, Codestral, Mixtral, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """mistral, mixtral."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="mistral",
            summary="Mistral 7B, Nemo, Small, Large, Ministral 8B, Codestral, Mathstral",
            models=models["mistral"],
            template="mistral",
            model_types=("mistral", "ministral", "ministral3"),
            architectures=("MistralForCausalLM", "MinistralForCausalLM", "Ministral3ForCausalLM"),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="mixtral",
            summary="Mixtral mixtures of experts; attention is adapted",
            models=models["mixtral"],
            template="mistral",
            model_types=("mixtral",),
            architectures=("MixtralForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
            unadapted=("gate",),
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

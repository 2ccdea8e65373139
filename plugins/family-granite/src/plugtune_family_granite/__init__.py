"""Granite 3 and 4, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """granite, granite-moe, granite4."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="granite",
            summary="Granite 3, dense",
            models=models["granite"],
            template="granite3",
            model_types=("granite",),
            architectures=("GraniteForCausalLM",),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="granite-moe",
            summary="Granite 3 mixtures of experts; attention is adapted",
            models=models["granite-moe"],
            template="granite3",
            model_types=("granitemoe", "granitemoeshared"),
            architectures=("GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
            unadapted=("layer",),
        ),
        plugtune.ModelFamily(
            name="granite4",
            summary="Granite 4, with state spaces",
            models=models["granite4"],
            template="granite4",
            model_types=("granitemoehybrid",),
            architectures=("GraniteMoeHybridForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "input_linear", "output_linear"),
            unadapted=("layer",),
            packs=False,
            small={"granitemoehybrid": {"layer_types": ["mamba", "attention"]}},
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

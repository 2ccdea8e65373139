"""OLMo 1 to 3 and OLMoE, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """olmo, olmoe."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="olmo",
            summary="OLMo 1, 2 and 3",
            models=models["olmo"],
            template="olmo",
            model_types=("olmo", "olmo2", "olmo3"),
            architectures=("OlmoForCausalLM", "Olmo2ForCausalLM", "Olmo3ForCausalLM"),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="olmoe",
            summary="OLMoE and FlexOlmo mixtures of experts; attention is adapted",
            models=models["olmoe"],
            template="olmo",
            model_types=("olmoe", "flex_olmo"),
            architectures=("OlmoeForCausalLM", "FlexOlmoForCausalLM"),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
            unadapted=("gate",),
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

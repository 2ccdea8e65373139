"""ERNIE 4.5, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """ernie4.5."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="ernie4.5",
            summary="ERNIE 4.5, dense and mixtures of experts; of a mixture of experts attention is adapted",
            models=models["ernie4.5"],
            template="ernie_nothink",
            model_types=("ernie4_5", "ernie4_5_moe"),
            architectures=("Ernie4_5ForCausalLM", "Ernie4_5_MoeForCausalLM"),
            lora_targets=STANDARD,
            unadapted=("gate",),
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

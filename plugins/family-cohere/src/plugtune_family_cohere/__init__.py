"""Command R, Command A and Aya, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """cohere."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="cohere",
            summary="Command R, Command A and Aya",
            models=models["cohere"],
            template="cohere",
            model_types=("cohere", "cohere2"),
            architectures=("CohereForCausalLM", "Cohere2ForCausalLM"),
            lora_targets=STANDARD,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

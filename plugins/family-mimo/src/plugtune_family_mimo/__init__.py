"""MiMo, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """mimo, mimo-v2."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="mimo",
            summary="MiMo 7B (code of its repository)",
            models=models["mimo"],
            template="mimo",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="mimo-v2",
            summary="MiMo V2 mixtures of experts; attention is adapted",
            models=models["mimo-v2"],
            template="mimo_v2",
            model_types=("mimo_v2_flash",),
            architectures=("MiMoV2FlashForCausalLM",),
            lora_targets=STANDARD,
            unadapted=("gate",),
            packs=False,  # its attention has sinks, which transformers computes the eager way only
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

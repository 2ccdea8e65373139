"""Falcon, Falcon 2, Falcon 3, Falcon-H1, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """falcon, falcon3, falcon-h1."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="falcon",
            summary="Falcon and Falcon 2",
            models=models["falcon"],
            template="falcon",
            model_types=("falcon",),
            architectures=("FalconForCausalLM",),
            blocks="transformer.h",
            lora_targets=("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
        ),
        plugtune.ModelFamily(
            name="falcon3",
            summary="Falcon 3 (LLaMA architecture)",
            models=models["falcon3"],
            like=("llama",),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="falcon-h1",
            summary="Falcon-H1, attention beside state spaces",
            models=models["falcon-h1"],
            template="falcon_h1",
            model_types=("falcon_h1",),
            architectures=("FalconH1ForCausalLM",),
            lora_targets=STANDARD,
            unadapted=("out_proj",),
            packs=False,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

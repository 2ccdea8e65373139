"""BLOOM and BLOOMZ. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """bloom, bloomz."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="bloom",
            summary="BLOOM",
            models=models["bloom"],
            model_types=("bloom",),
            architectures=("BloomForCausalLM",),
            blocks="transformer.h",
            lora_targets=("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
            packs=False,
        ),
        plugtune.ModelFamily(
            name="bloomz",
            summary="BLOOMZ (BLOOM architecture)",
            models=models["bloomz"],
            like=("bloom",),
            blocks="transformer.h",
            lora_targets=("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
            packs=False,
        ),
    ]

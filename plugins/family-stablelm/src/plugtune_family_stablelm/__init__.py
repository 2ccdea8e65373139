"""StableLM and Stable Code. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """stablelm."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="stablelm",
            summary="StableLM and Stable Code",
            models=models["stablelm"],
            model_types=("stablelm",),
            architectures=("StableLmForCausalLM",),
            lora_targets=STANDARD,
            packs=False,
        ),
    ]

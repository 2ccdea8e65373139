"""InternLM3. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """internlm3."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="internlm3",
            summary="InternLM3",
            models=models["internlm3"],
            model_types=("internlm3",),
            architectures=("InternLM3ForCausalLM",),
            lora_targets=STANDARD,
        ),
    ]

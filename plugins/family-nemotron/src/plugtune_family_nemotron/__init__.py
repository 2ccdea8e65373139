"""Nemotron and Minitron. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """nemotron, nemotron-h, llama-nemotron."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="nemotron",
            summary="Nemotron and Minitron",
            models=models["nemotron"],
            model_types=("nemotron",),
            architectures=("NemotronForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
            packs=False,  # it chooses its attention when it is built
        ),
        plugtune.ModelFamily(
            name="nemotron-h",
            summary="Nemotron-H and Nemotron Nano 2, with state spaces",
            models=models["nemotron-h"],
            model_types=("nemotron_h",),
            architectures=("NemotronHForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
            unadapted=("gate", "out_proj"),
            packs=False,
        ),
        plugtune.ModelFamily(
            name="llama-nemotron",
            summary="LLaMA tuned by NVIDIA (LLaMA architecture)",
            models=models["llama-nemotron"],
            template="llama3",
            like=("llama",),
            lora_targets=STANDARD,
        ),
    ]

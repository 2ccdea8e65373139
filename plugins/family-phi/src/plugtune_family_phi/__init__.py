"""Phi-1 to Phi-4, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """phi, phi3, phimoe, phi3-small."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="phi",
            summary="Phi-1, Phi-1.5 and Phi-2",
            models=models["phi"],
            model_types=("phi",),
            architectures=("PhiForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"),
        ),
        plugtune.ModelFamily(
            name="phi3",
            summary="Phi-3, Phi-3.5 and Phi-4",
            models=models["phi3"],
            template="phi",
            model_types=("phi3",),
            architectures=("Phi3ForCausalLM",),
            lora_targets=("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
        ),
        plugtune.ModelFamily(
            name="phimoe",
            summary="Phi-3.5-MoE; attention is adapted",
            models=models["phimoe"],
            template="phi",
            model_types=("phimoe",),
            architectures=("PhimoeForCausalLM", "PhiMoEForCausalLM"),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
            unadapted=("router", "gate"),
        ),
        plugtune.ModelFamily(
            name="phi3-small",
            summary="Phi-3-small (code of its repository)",
            models=models["phi3-small"],
            template="phi_small",
            lora_targets=("query_key_value", "dense", "up_proj", "down_proj"),
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

"""LFM2 and LFM2.5, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """lfm2."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="lfm2",
            summary="LFM2 and LFM2.5; convolutions beside attention",
            models=models["lfm2"],
            template="lfm2",
            model_types=("lfm2", "lfm2_moe"),
            architectures=("Lfm2ForCausalLM", "Lfm2MoeForCausalLM"),
            lora_targets=("q_proj", "k_proj", "v_proj", "out_proj", "in_proj", "w1", "w2", "w3"),
            unadapted=("gate",),
            packs=False,
            small={"lfm2_moe": {"layer_types": ["conv", "full_attention"]}},
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

"""StarCoder, StarCoder2 and StarChat, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """starcoder, starcoder2."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="starcoder",
            summary="StarCoder and StarChat",
            models=models["starcoder"],
            model_types=("gpt_bigcode",),
            architectures=("GPTBigCodeForCausalLM",),
            blocks="transformer.h",
            lora_targets=("c_attn", "c_proj", "c_fc"),
            packs=False,
        ),
        plugtune.ModelFamily(
            name="starcoder2",
            summary="StarCoder2",
            models=models["starcoder2"],
            model_types=("starcoder2",),
            architectures=("Starcoder2ForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj"),
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

"""Hunyuan, Hy and Youtu, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent

LATENT = (
    "q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
)  # fmt: skip
"""Attention over compressed keys and values; checkpoints have q_proj, or q_a_proj and q_b_proj."""


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """hunyuan, youtu."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="hunyuan",
            summary="Hunyuan, Hunyuan-MT and Hy3; of a mixture of experts attention is adapted",
            models=models["hunyuan"],
            template="hunyuan",
            model_types=("hunyuan_v1_dense", "hunyuan_v1_moe", "hy_v3"),
            architectures=("HunYuanDenseV1ForCausalLM", "HunYuanMoEV1ForCausalLM", "HYV3ForCausalLM"),
            lora_targets=STANDARD,
            unadapted=("wg", "gate"),
        ),
        plugtune.ModelFamily(
            name="youtu",
            summary="Youtu-LLM",
            models=models["youtu"],
            template="youtu",
            model_types=("youtu",),
            architectures=("YoutuForCausalLM",),
            lora_targets=LATENT,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

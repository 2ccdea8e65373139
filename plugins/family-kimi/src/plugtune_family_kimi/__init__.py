"""Moonlight, Kimi Linear, Kimi K2, Kimi-Dev, with their templates. Imports nothing heavy."""

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
    """moonlight, kimi-linear, kimi-k2, kimi-dev."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="moonlight",
            summary="Moonlight (DeepSeek V3 architecture)",
            models=models["moonlight"],
            template="moonlight",
            like=("deepseek_v3",),
            lora_targets=LATENT,
            unadapted=("gate",),
        ),
        plugtune.ModelFamily(
            name="kimi-linear",
            summary="Kimi Linear; of a mixture of experts attention is adapted",
            models=models["kimi-linear"],
            model_types=("kimi_linear",),
            architectures=("KimiLinearForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
            unadapted=("gate",),
            packs=False,
        ),
        plugtune.ModelFamily(
            name="kimi-k2",
            summary="Kimi K2 (code of its repository)",
            models=models["kimi-k2"],
            lora_targets=LATENT,
            unadapted=("gate",),
        ),
        plugtune.ModelFamily(
            name="kimi-dev",
            summary="Kimi-Dev (Qwen2 architecture)",
            models=models["kimi-dev"],
            template="qwen",
            like=("qwen2",),
            lora_targets=STANDARD,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

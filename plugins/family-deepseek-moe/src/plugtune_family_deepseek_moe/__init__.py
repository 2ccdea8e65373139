"""DeepSeek-MoE (the first one) from its original checkpoints. Imports nothing heavy."""

from __future__ import annotations

import plugtune

from plugtune_family_deepseek_moe.models import MODELS


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """The family `deepseek-moe`."""
    return [
        plugtune.ModelFamily(
            name="deepseek-moe",
            summary="DeepSeek-MoE 16B, original checkpoints",
            models=MODELS,
            template="deepseek",
            model_types=("deepseek",),
            architectures=("DeepseekForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
            requires=("transformers>=5.16,<5.25",),
            layout="plugtune_family_deepseek_moe.layout:layout",
            tiny="plugtune_family_deepseek_moe.tiny:make",
        )
    ]

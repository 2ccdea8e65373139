"""DeepSeek LLM, Coder, Math, V2, V3, R1 and the distilled models, with their templates. Imports nothing heavy."""

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
    """deepseek, deepseek-v2, deepseek-v3, deepseek-distill."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="deepseek",
            summary="DeepSeek LLM, Coder and Math (LLaMA architecture)",
            models=models["deepseek"],
            template="deepseek",
            like=("llama",),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="deepseek-v2",
            summary="DeepSeek V2, V2.5 and Coder V2; of a mixture of experts attention is adapted",
            models=models["deepseek-v2"],
            template="deepseek",
            model_types=("deepseek_v2",),
            architectures=("DeepseekV2ForCausalLM",),
            lora_targets=LATENT,
            unadapted=("gate",),
        ),
        plugtune.ModelFamily(
            name="deepseek-v3",
            summary="DeepSeek V3, R1 and their kin; of a mixture of experts attention is adapted",
            models=models["deepseek-v3"],
            template="deepseek3",
            model_types=("deepseek_v3", "deepseek_v32"),
            architectures=("DeepseekV3ForCausalLM", "DeepseekV32ForCausalLM"),
            lora_targets=LATENT,
            unadapted=("gate", "weights_proj"),
        ),
        plugtune.ModelFamily(
            name="deepseek-distill",
            summary="R1 distilled into Qwen and LLaMA (their architectures)",
            models=models["deepseek-distill"],
            template="deepseekr1",
            like=("qwen2", "llama", "qwen3"),
            lora_targets=STANDARD,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

"""Qwen1.5, Qwen2, Qwen2.5, Qwen3, Qwen3.5 and QwQ, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """qwen, qwen-moe, qwen-next, qwen3.5."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="qwen",
            summary="Qwen1.5, Qwen2, Qwen2.5, Qwen3, QwQ",
            models=models["qwen"],
            template="qwen",
            model_types=("qwen2", "qwen3"),
            architectures=("Qwen2ForCausalLM", "Qwen3ForCausalLM"),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="qwen-moe",
            summary="Mixtures of experts of Qwen1.5, Qwen2 and Qwen3; of a mixture of experts attention is adapted",
            models=models["qwen-moe"],
            template="qwen3",
            model_types=("qwen2_moe", "qwen3_moe"),
            architectures=("Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM"),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
            unadapted=("gate", "shared_expert_gate"),
        ),
        plugtune.ModelFamily(
            name="qwen-next",
            summary="Qwen3-Next; attention is adapted",
            models=models["qwen-next"],
            template="qwen3_nothink",
            model_types=("qwen3_next",),
            architectures=("Qwen3NextForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
            unadapted=("gate", "shared_expert_gate"),
            packs=False,
        ),
        plugtune.ModelFamily(
            name="qwen3.5",
            summary="Qwen3.5 (text), dense and mixtures of experts",
            models=models["qwen3.5"],
            template="qwen3_5",
            model_types=("qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"),
            architectures=(
                "Qwen3_5ForCausalLM",
                "Qwen3_5ForConditionalGeneration",
                "Qwen3_5MoeForCausalLM",
                "Qwen3_5MoeForConditionalGeneration",
            ),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
            unadapted=("gate", "shared_expert_gate"),
            packs=False,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

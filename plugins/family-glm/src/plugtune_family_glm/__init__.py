"""GLM-4, GLM-4-0414, GLM-Z1, GLM-4.5 to 4.7, CodeGeeX4, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """glm, glm4, glm4-moe."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="glm",
            summary="GLM-4-9B, GLM-Edge and CodeGeeX4",
            models=models["glm"],
            template="glm4",
            model_types=("glm",),
            architectures=("GlmForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"),
        ),
        plugtune.ModelFamily(
            name="glm4",
            summary="GLM-4-0414 and GLM-Z1",
            models=models["glm4"],
            template="glm4",
            model_types=("glm4",),
            architectures=("Glm4ForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"),
        ),
        plugtune.ModelFamily(
            name="glm4-moe",
            summary="GLM-4.5, 4.6 and 4.7; of a mixture of experts attention is adapted",
            models=models["glm4-moe"],
            template="glm4_moe",
            model_types=("glm4_moe", "glm4_moe_lite"),
            architectures=("Glm4MoeForCausalLM", "Glm4MoeLiteForCausalLM"),
            lora_targets=(
                "q_proj",
                "k_proj",
                "v_proj",
                "o_proj",
                "q_a_proj",
                "q_b_proj",
                "kv_a_proj_with_mqa",
                "kv_b_proj",
                "gate_proj",
                "up_proj",
                "down_proj",
            ),
            unadapted=("gate",),
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

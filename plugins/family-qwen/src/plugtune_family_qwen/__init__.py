"""Qwen1.5, Qwen2, Qwen2.5 and Qwen3, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune

from plugtune_family_qwen.models import MODELS


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """The family `qwen`."""
    return [
        plugtune.ModelFamily(
            name="qwen",
            summary="Qwen1.5, Qwen2, Qwen2.5, Qwen3",
            models=MODELS,
            template="qwen",
            model_types=("qwen2", "qwen3"),
            architectures=("Qwen2ForCausalLM", "Qwen3ForCausalLM"),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        )
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """qwen, qwen3 and kin."""
    from plugtune.templating.load import load_templates

    return load_templates(Path(__file__).parent / "templates")

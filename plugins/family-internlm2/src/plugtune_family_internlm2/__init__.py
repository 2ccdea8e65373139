"""InternLM2 from its original checkpoints, with its templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune

from plugtune_family_internlm2.models import MODELS


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """The family `internlm2`."""
    return [
        plugtune.ModelFamily(
            name="internlm2",
            summary="InternLM2, original checkpoints",
            models=MODELS,
            template="intern2",
            model_types=("internlm2",),
            architectures=("InternLM2ForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
            target_aliases={
                "wqkv": ("q_proj", "k_proj", "v_proj"),
                "wo": ("o_proj",),
                "w1": ("gate_proj",),
                "w3": ("up_proj",),
                "w2": ("down_proj",),
            },
            requires=("transformers>=5.16,<5.25",),
            layout="plugtune_family_internlm2.layout:layout",
            tokenizer="plugtune_family_internlm2.tokenizer:load",
            tiny="plugtune_family_internlm2.tiny:make",
        )
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """Templates of the family."""
    from plugtune.templating.load import load_templates

    return load_templates(Path(__file__).parent / "templates")

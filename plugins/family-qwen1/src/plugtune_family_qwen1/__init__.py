"""The first Qwen from its original checkpoints; its template is `qwen_old`. Imports nothing heavy."""

from __future__ import annotations

import plugtune

from plugtune_family_qwen1.models import MODELS


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """The family `qwen1`."""
    return [
        plugtune.ModelFamily(
            name="qwen1",
            summary="Qwen (first generation), original checkpoints",
            models=MODELS,
            template="qwen_old",
            model_types=("qwen",),
            architectures=("QWenLMHeadModel",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
            target_aliases={
                "c_attn": ("q_proj", "k_proj", "v_proj"),
                "attn.c_proj": ("o_proj",),
                "c_proj": ("o_proj", "down_proj"),
                "mlp.c_proj": ("down_proj",),
                "w1": ("up_proj",),
                "w2": ("gate_proj",),
            },
            requires=("transformers>=5.16,<5.25",),
            layout="plugtune_family_qwen1.layout:layout",
            tokenizer="plugtune_family_qwen1.tokenizer:load",
            tiny="plugtune_family_qwen1.tiny:make",
        )
    ]

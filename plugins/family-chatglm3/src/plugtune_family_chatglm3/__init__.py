"""ChatGLM3 and ChatGLM2 from their original checkpoints, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune

from plugtune_family_chatglm3.models import MODELS


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """The family `chatglm3`."""
    return [
        plugtune.ModelFamily(
            name="chatglm3",
            summary="ChatGLM3 and ChatGLM2, original checkpoints",
            models=MODELS,
            template="chatglm3",
            model_types=("chatglm",),
            architectures=("ChatGLMModel", "ChatGLMForConditionalGeneration"),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_up_proj", "down_proj"),
            target_aliases={
                "query_key_value": ("q_proj", "k_proj", "v_proj"),
                "dense": ("o_proj",),
                "dense_h_to_4h": ("gate_up_proj",),
                "dense_4h_to_h": ("down_proj",),
            },
            requires=("transformers>=5.16,<5.25",),
            layout="plugtune_family_chatglm3.layout:layout",
            tokenizer="plugtune_family_chatglm3.tokenizer:load",
            tiny="plugtune_family_chatglm3.tiny:make",
        )
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """Templates of the family."""
    from plugtune.templating.load import load_templates

    return load_templates(Path(__file__).parent / "templates")

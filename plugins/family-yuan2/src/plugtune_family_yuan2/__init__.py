"""Yuan2 from its original checkpoints, with its template. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune

from plugtune_family_yuan2.models import MODELS


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """The family `yuan2`."""
    return [
        plugtune.ModelFamily(
            name="yuan2",
            summary="Yuan2, original checkpoints",
            models=MODELS,
            template="yuan",
            model_types=("yuan",),
            architectures=("YuanForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
            requires=("transformers>=5.16,<5.25",),
            layout="plugtune_family_yuan2.layout:layout",
            tokenizer="plugtune_family_yuan2.tokenizer:load",
            tiny="plugtune_family_yuan2.tiny:make",
        )
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """Templates of the family."""
    from plugtune.templating.load import load_templates

    return load_templates(Path(__file__).parent / "templates")

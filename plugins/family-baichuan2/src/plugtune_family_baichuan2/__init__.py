"""Baichuan2 and Baichuan from their original checkpoints, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune

from plugtune_family_baichuan2.models import MODELS


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """The family `baichuan2`."""
    return [
        plugtune.ModelFamily(
            name="baichuan2",
            summary="Baichuan2 and Baichuan, original checkpoints",
            models=MODELS,
            template="baichuan2",
            model_types=("baichuan",),
            architectures=("BaichuanForCausalLM", "BaiChuanForCausalLM"),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
            target_aliases={"W_pack": ("q_proj", "k_proj", "v_proj")},
            requires=("transformers>=5.16,<5.25",),
            layout="plugtune_family_baichuan2.layout:layout",
            tokenizer="plugtune_family_baichuan2.tokenizer:load",
            tiny="plugtune_family_baichuan2.tiny:make",
        )
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """Templates of the family."""
    from plugtune.templating.load import load_templates

    return load_templates(Path(__file__).parent / "templates")

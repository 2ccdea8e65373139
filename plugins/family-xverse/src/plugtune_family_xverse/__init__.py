"""XVERSE from its original checkpoints, with its template. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune

from plugtune_family_xverse.models import MODELS


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """The family `xverse`."""
    return [
        plugtune.ModelFamily(
            name="xverse",
            summary="XVERSE, original checkpoints",
            models=MODELS,
            template="xverse",
            model_types=("xverse",),
            architectures=("XverseForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
            requires=("transformers>=5.16,<5.25",),
            layout="plugtune_family_xverse.layout:layout",
            tiny="plugtune_family_xverse.tiny:make",
        )
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """Templates of the family."""
    from plugtune.templating.load import load_templates

    return load_templates(Path(__file__).parent / "templates")

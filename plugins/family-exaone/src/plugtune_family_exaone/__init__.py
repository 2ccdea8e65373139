"""EXAONE 3 and 4, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """exaone, exaone4."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="exaone",
            summary="EXAONE 3, 3.5 and Deep",
            models=models["exaone"],
            template="exaone",
            model_types=("exaone",),
            architectures=("ExaoneForCausalLM",),
            lora_targets=STANDARD,
            target_aliases={
                "out_proj": ("o_proj",),
                "c_fc_0": ("gate_proj",),
                "c_fc_1": ("up_proj",),
                "c_proj": ("down_proj",),
            },
        ),
        plugtune.ModelFamily(
            name="exaone4",
            summary="EXAONE 4",
            models=models["exaone4"],
            model_types=("exaone4",),
            architectures=("Exaone4ForCausalLM",),
            lora_targets=STANDARD,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

"""Bailing: Ling, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """bailing."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="bailing",
            summary="Ling (code of its repository)",
            models=models["bailing"],
            template="bailing",
            lora_targets=("query_key_value", "dense", "gate_proj", "up_proj", "down_proj"),
            unadapted=("gate",),
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

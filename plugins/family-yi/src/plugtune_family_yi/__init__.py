"""Yi, Yi-1.5 and Yi-Coder, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """yi."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="yi",
            summary="Yi, Yi-1.5 and Yi-Coder (LLaMA architecture)",
            models=models["yi"],
            template="yi",
            like=("llama",),
            lora_targets=STANDARD,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

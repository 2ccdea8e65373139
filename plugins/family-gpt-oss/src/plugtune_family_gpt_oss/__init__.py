"""gpt-oss, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """gpt-oss."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="gpt-oss",
            summary="gpt-oss mixtures of experts; attention is adapted",
            models=models["gpt-oss"],
            template="gpt_oss",
            model_types=("gpt_oss",),
            architectures=("GptOssForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
            unadapted=("router",),
            packs=False,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

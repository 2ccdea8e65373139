"""Seed-OSS and Seed-Coder, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """seed-oss, seed-coder."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="seed-oss",
            summary="Seed-OSS",
            models=models["seed-oss"],
            template="seed_oss",
            model_types=("seed_oss",),
            architectures=("SeedOssForCausalLM",),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="seed-coder",
            summary="Seed-Coder (LLaMA architecture)",
            models=models["seed-coder"],
            template="seed_coder",
            like=("llama",),
            lora_targets=STANDARD,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

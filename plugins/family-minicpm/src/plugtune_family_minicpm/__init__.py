"""MiniCPM, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent

LATENT = (
    "q_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
)  # fmt: skip
"""Attention over compressed keys and values; checkpoints have q_proj, or q_a_proj and q_b_proj."""


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """minicpm, minicpm3."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="minicpm",
            summary="MiniCPM, MiniCPM4 (code of their repositories) and MiniCPM5",
            models=models["minicpm"],
            template="cpm4",
            like=("llama",),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="minicpm3",
            summary="MiniCPM3",
            models=models["minicpm3"],
            template="cpm3",
            model_types=("minicpm3",),
            architectures=("MiniCPM3ForCausalLM",),
            lora_targets=LATENT,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

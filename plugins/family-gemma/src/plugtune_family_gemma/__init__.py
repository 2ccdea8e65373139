"""Gemma 1 to 4 (text) and CodeGemma, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """gemma, gemma3, gemma3n, gemma4."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="gemma",
            summary="Gemma, Gemma 1.1, Gemma 2, CodeGemma, VaultGemma",
            models=models["gemma"],
            template="gemma",
            model_types=("gemma", "gemma2", "vaultgemma"),
            architectures=("GemmaForCausalLM", "Gemma2ForCausalLM", "VaultGemmaForCausalLM"),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="gemma3",
            summary="Gemma 3 (text) and MedGemma",
            models=models["gemma3"],
            template="gemma3",
            model_types=("gemma3_text", "gemma3"),
            architectures=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="gemma3n",
            summary="Gemma 3n (text)",
            models=models["gemma3n"],
            template="gemma3n",
            model_types=("gemma3n_text", "gemma3n"),
            architectures=("Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"),
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="gemma4",
            summary="Gemma 4 (text)",
            models=models["gemma4"],
            template="gemma4",
            model_types=("gemma4_text", "gemma4"),
            architectures=("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"),
            lora_targets=STANDARD,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

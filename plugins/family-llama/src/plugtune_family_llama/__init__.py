"""LLaMA 1, 2, 3 and models of the same architecture, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune

from plugtune_family_llama.models import MODELS


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """The family `llama`."""
    return [
        plugtune.ModelFamily(
            name="llama",
            summary="LLaMA 1, 2, 3, SmolLM and SmolLM2",
            models=MODELS,
            template="llama3",
            model_types=("llama",),
            architectures=("LlamaForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        )
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """llama2, llama3, smollm, smollm2."""
    from plugtune.templating.load import load_templates

    return load_templates(Path(__file__).parent / "templates")

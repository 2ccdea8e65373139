"""MiniMax Text-01, M1, M2, with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """minimax, minimax-m2."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="minimax",
            summary="MiniMax Text-01 and M1; attention is adapted",
            models=models["minimax"],
            template="minimax1",
            model_types=("minimax",),
            architectures=("MiniMaxForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "out_proj"),
            unadapted=("gate", "output_gate"),
            packs=False,
        ),
        plugtune.ModelFamily(
            name="minimax-m2",
            summary="MiniMax M2; attention is adapted",
            models=models["minimax-m2"],
            template="minimax2",
            model_types=("minimax_m2",),
            architectures=("MiniMaxM2ForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
            unadapted=("gate",),
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

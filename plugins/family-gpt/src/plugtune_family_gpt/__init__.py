"""GPT-2, GPT-Neo, GPT-J, GPT-NeoX, Pythia, OPT. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import read_models

HERE = Path(__file__).parent


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """gpt2, gpt-neo, gpt-j, gpt-neox, opt."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="gpt2",
            summary="GPT-2",
            models=models["gpt2"],
            model_types=("gpt2",),
            architectures=("GPT2LMHeadModel",),
            blocks="transformer.h",
            lora_targets=("c_attn", "c_proj", "c_fc"),
            packs=False,
        ),
        plugtune.ModelFamily(
            name="gpt-neo",
            summary="GPT-Neo",
            models=models["gpt-neo"],
            model_types=("gpt_neo",),
            architectures=("GPTNeoForCausalLM",),
            blocks="transformer.h",
            lora_targets=("q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"),
            packs=False,
            small={"gpt_neo": {"attention_types": [[["global", "local"], 1]]}},
        ),
        plugtune.ModelFamily(
            name="gpt-j",
            summary="GPT-J",
            models=models["gpt-j"],
            model_types=("gptj",),
            architectures=("GPTJForCausalLM",),
            blocks="transformer.h",
            lora_targets=("q_proj", "k_proj", "v_proj", "out_proj", "fc_in", "fc_out"),
            packs=False,
        ),
        plugtune.ModelFamily(
            name="gpt-neox",
            summary="GPT-NeoX and Pythia",
            models=models["gpt-neox"],
            model_types=("gpt_neox",),
            architectures=("GPTNeoXForCausalLM",),
            blocks="gpt_neox.layers",
            lora_targets=("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
        ),
        plugtune.ModelFamily(
            name="opt",
            summary="OPT",
            models=models["opt"],
            model_types=("opt",),
            architectures=("OPTForCausalLM",),
            blocks="model.decoder.layers",
            lora_targets=("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
        ),
    ]

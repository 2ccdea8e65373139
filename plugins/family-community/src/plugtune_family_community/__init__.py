"""Models of many makers (Vicuna, Zephyr, OpenChat, DBRX, Jamba …), with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plugtune
from plugtune.modeling.entries import STANDARD, read_models

HERE = Path(__file__).parent


SHARING = {
    # name: (makers' name, template, model types of the families that claim their checkpoints)
    "vicuna": ("Vicuna", "vicuna", ("llama",)),
    "zephyr": ("Zephyr", "zephyr", ("mistral", "mixtral")),
    "openchat": ("OpenChat", "openchat", ("mistral", "llama")),
    "solar": ("SOLAR", "solar", ("llama",)),
    "breeze": ("Breeze", "breeze", ("mistral",)),
    "xuanyuan": ("XuanYuan", "xuanyuan", ("llama",)),
    "yayi": ("YaYi", "yayi", ("llama",)),
    "opencoder": ("OpenCoder", "opencoder", ("llama",)),
    "atom": ("Atom", "atom", ("llama",)),
    "marco": ("Marco-o1", "marco", ("qwen2",)),
    "vibethinker": ("VibeThinker", "qwen3", ("qwen2",)),
    "skywork-o1": ("Skywork-o1 and OR1", "skywork_o1", ("llama", "qwen2")),
    "sailor": ("Sailor", "sailor", ("qwen2",)),
    "baichuan-m": ("Baichuan-M2 (and M1, with code of its repository)", "", ("qwen2",)),
}

OWN_CODE = {
    # name: (makers' name, template, linear layers); their checkpoints come with code of their repositories
    "index": ("Index 1.9B", "index", STANDARD),
    "bluelm": ("BlueLM", "bluelm", STANDARD),
    "orion": ("Orion", "orion", STANDARD),
    "skywork": ("Skywork 13B", "", STANDARD),
}

DBRX_SMALL = {
    "d_model": 32,
    "n_heads": 4,
    "n_layers": 2,
    "attn_config": {"rope_theta": 1e4, "kv_n_heads": 2, "clip_qkv": 8.0},
    "ffn_config": {"ffn_hidden_size": 16, "moe_num_experts": 4, "moe_top_k": 2},
}

CLAIMING: dict[str, dict[str, Any]] = {
    "apertus": {
        "summary": "Apertus",
        "model_types": ("apertus",),
        "architectures": ("ApertusForCausalLM",),
        "lora_targets": ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
    },
    "arcee": {
        "summary": "Arcee AFM",
        "model_types": ("arcee",),
        "architectures": ("ArceeForCausalLM",),
        "lora_targets": ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
    },
    "dbrx": {
        "summary": "DBRX; attention is adapted",
        "template": "dbrx",
        "model_types": ("dbrx",),
        "architectures": ("DbrxForCausalLM",),
        "blocks": "transformer.blocks",
        "lora_targets": ("Wqkv", "out_proj"),
        "unadapted": ("layer",),
        "small": {"dbrx": DBRX_SMALL},
    },
    "jamba": {
        "summary": "Jamba, attention between state spaces",
        "model_types": ("jamba",),
        "architectures": ("JambaForCausalLM",),
        "lora_targets": STANDARD,
        "unadapted": ("router",),
        "packs": False,
    },
    "telechat": {
        "summary": "TeleChat (code of its repository)",
        "template": "telechat2",
        "blocks": "transformer.h",
        "lora_targets": ("query", "key_value", "dense", "gate_proj", "up_proj", "down_proj"),
    },
    "aeva": {
        "summary": "Aeva (transformers has no release with its architecture yet)",
        "template": "aeva",
        "lora_targets": STANDARD,
    },
}
"""What the others say of themselves, as `plugtune.ModelFamily` takes it."""


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """One family for each maker; those without claims share an architecture that another plugin claims."""
    models = read_models(HERE / "models.tsv")
    tables = CLAIMING | {
        name: {
            "summary": f"{maker} ({' and '.join(like)} architecture)",
            "template": template,
            "like": like,
            "lora_targets": STANDARD,
        }
        for name, (maker, template, like) in SHARING.items()
    }
    tables |= {
        name: {"summary": f"{maker} (code of its repository)", "template": template, "lora_targets": layers}
        for name, (maker, template, layers) in OWN_CODE.items()
    }
    return [plugtune.ModelFamily(name=name, models=models[name], **tables[name]) for name in models]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

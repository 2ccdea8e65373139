"""Models of many makers (Vicuna, Zephyr, OpenChat, DBRX, Jamba …), with their templates. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path

import plugtune
from plugtune.modeling.entries import read_models

HERE = Path(__file__).parent

STANDARD = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@plugtune.hookimpl
def plugtune_families() -> list[plugtune.ModelFamily]:
    """One family for each maker; those without claims share an architecture that another plugin claims."""
    models = read_models(HERE / "models.tsv")
    return [
        plugtune.ModelFamily(
            name="vicuna",
            summary="Vicuna (LLaMA architecture)",
            models=models["vicuna"],
            template="vicuna",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="zephyr",
            summary="Zephyr (Mistral and Mixtral architectures)",
            models=models["zephyr"],
            template="zephyr",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="openchat",
            summary="OpenChat (Mistral and LLaMA architectures)",
            models=models["openchat"],
            template="openchat",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="solar",
            summary="SOLAR (LLaMA architecture)",
            models=models["solar"],
            template="solar",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="breeze",
            summary="Breeze (Mistral architecture)",
            models=models["breeze"],
            template="breeze",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="xuanyuan",
            summary="XuanYuan (LLaMA architecture)",
            models=models["xuanyuan"],
            template="xuanyuan",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="yayi",
            summary="YaYi (LLaMA 2 architecture)",
            models=models["yayi"],
            template="yayi",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="opencoder",
            summary="OpenCoder (LLaMA architecture)",
            models=models["opencoder"],
            template="opencoder",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="atom",
            summary="Atom (LLaMA architecture)",
            models=models["atom"],
            template="atom",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="marco",
            summary="Marco-o1 (Qwen2 architecture)",
            models=models["marco"],
            template="marco",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="vibethinker",
            summary="VibeThinker (Qwen2 architecture)",
            models=models["vibethinker"],
            template="qwen3",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="skywork-o1",
            summary="Skywork-o1 and OR1 (LLaMA and Qwen2 architectures)",
            models=models["skywork-o1"],
            template="skywork_o1",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="sailor",
            summary="Sailor (Qwen2 architecture)",
            models=models["sailor"],
            template="sailor",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="baichuan-m",
            summary="Baichuan-M2 (Qwen2 architecture) and M1 (code of its repository)",
            models=models["baichuan-m"],
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="aeva",
            summary="Aeva (claimed by its architecture)",
            models=models["aeva"],
            template="aeva",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="apertus",
            summary="Apertus",
            models=models["apertus"],
            model_types=("apertus",),
            architectures=("ApertusForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
        ),
        plugtune.ModelFamily(
            name="arcee",
            summary="Arcee AFM",
            models=models["arcee"],
            model_types=("arcee",),
            architectures=("ArceeForCausalLM",),
            lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"),
        ),
        plugtune.ModelFamily(
            name="dbrx",
            summary="DBRX; attention is adapted",
            models=models["dbrx"],
            template="dbrx",
            model_types=("dbrx",),
            architectures=("DbrxForCausalLM",),
            blocks="transformer.blocks",
            lora_targets=("Wqkv", "out_proj"),
            unadapted=("layer",),
        ),
        plugtune.ModelFamily(
            name="jamba",
            summary="Jamba, attention between state spaces",
            models=models["jamba"],
            model_types=("jamba",),
            architectures=("JambaForCausalLM",),
            lora_targets=STANDARD,
            unadapted=("router",),
            packs=False,
        ),
        plugtune.ModelFamily(
            name="telechat",
            summary="TeleChat (code of its repository)",
            models=models["telechat"],
            template="telechat2",
            blocks="transformer.h",
            lora_targets=("query", "key_value", "dense", "gate_proj", "up_proj", "down_proj"),
        ),
        plugtune.ModelFamily(
            name="index",
            summary="Index 1.9B (code of its repository)",
            models=models["index"],
            template="index",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="bluelm",
            summary="BlueLM (code of its repository)",
            models=models["bluelm"],
            template="bluelm",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="orion",
            summary="Orion (code of its repository)",
            models=models["orion"],
            template="orion",
            lora_targets=STANDARD,
        ),
        plugtune.ModelFamily(
            name="skywork",
            summary="Skywork 13B (code of its repository)",
            models=models["skywork"],
            lora_targets=STANDARD,
        ),
    ]


@plugtune.hookimpl
def plugtune_templates() -> list[plugtune.ChatTemplate]:
    """The templates of these models."""
    from plugtune.templating.load import load_templates

    return load_templates(HERE / "templates")

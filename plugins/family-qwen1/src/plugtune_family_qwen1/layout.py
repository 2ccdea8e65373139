"""Qwen checkpoints of the first generation on `Qwen2ForCausalLM`, with long contexts computed as the original does.

Facts: https://huggingface.co/Qwen/Qwen-7B (config.json, modeling_qwen.py), arXiv:2309.16609. Up to `seq_length` tokens
and in training it is Qwen2; beyond, the rotation's base and the queries are scaled (see `model.py`).
"""

from __future__ import annotations

from typing import Any

from plugtune.modeling.layout import Fused, Layout, Parts, Portable, query_key_value
from transformers import Qwen2Config

from plugtune_family_qwen1.config import QWenConfig
from plugtune_family_qwen1.model import QWenLMHeadModel


def portable(config: Any) -> Portable:
    """A Qwen2 checkpoint, exact up to `seq_length` tokens."""
    left_out = ("model_type", "seq_length", "use_dynamic_ntk", "use_logn_attn")
    values = Qwen2Config(**{k: v for k, v in config.to_dict().items() if k not in left_out}).to_diff_dict()
    scaled = config.use_dynamic_ntk or config.use_logn_attn
    note = f"exact up to {config.seq_length} tokens; longer inputs are scaled only by plugtune and the original code"
    return Portable(
        values | {"architectures": ["Qwen2ForCausalLM"], "max_position_embeddings": config.seq_length},
        note=note if scaled else "",
    )


PARTS = Parts(query_key_value)

LAYOUT = Layout(
    config=QWenConfig,
    model=QWenLMHeadModel,
    renames=(
        ("^transformer.wte.", "^model.embed_tokens."),
        ("^transformer.h.", "^model.layers."),
        ("^transformer.ln_f.", "^model.norm."),
        (".ln_1.", ".input_layernorm."),
        (".ln_2.", ".post_attention_layernorm."),
        (".attn.c_proj.", ".self_attn.o_proj."),
        (".mlp.w1.", ".mlp.up_proj."),
        (".mlp.w2.", ".mlp.gate_proj."),
        (".mlp.c_proj.", ".mlp.down_proj."),
    ),
    fused=(
        Fused(
            ".attn.c_attn.",
            (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."),
            PARTS.split,
            PARTS.join,
        ),
    ),
    portable=portable,
    buffers=r"(inv_freq|\.attn\.(masked_)?bias)$",
)


def layout() -> Layout:
    """The layout of the family's original checkpoints."""
    return LAYOUT

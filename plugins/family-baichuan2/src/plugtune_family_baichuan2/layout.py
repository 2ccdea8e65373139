"""Baichuan2 and Baichuan checkpoints on `LlamaForCausalLM`.

Facts: https://huggingface.co/baichuan-inc/Baichuan2-7B-Base and -13B-Base (config.json, modeling_baichuan.py),
arXiv:2309.10305. 7B rotates (RoPE), 13B has linear biases (ALiBi, arXiv:2108.12409) and no
`max_position_embeddings`; Baichuan2 normalises the rows of its output head, the first Baichuan (64,000 tokens) not.
"""

from __future__ import annotations

from typing import Any

import torch
from plugtune.modeling.layout import Fused, Layout, Parts, Portable, query_key_value
from transformers import LlamaConfig

from plugtune_family_baichuan2.config import BaichuanConfig
from plugtune_family_baichuan2.model import BaichuanForCausalLM


def portable(config: Any) -> Portable:
    """A LLaMA checkpoint with the head normalised once; there is none with ALiBi."""
    if config.alibi:
        return Portable(None, note="no class of transformers has this model's attention biases (ALiBi)")
    left_out = ("model_type", "alibi", "norm_head")
    values = LlamaConfig(**{k: v for k, v in config.to_dict().items() if k not in left_out}).to_diff_dict()

    def finish(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name != "lm_head.weight" or not config.norm_head:
            return tensor
        return torch.nn.functional.normalize(tensor.float()).to(tensor.dtype)

    note = "rows of lm_head are normalised once; train the original rather than this copy if the head is trained"
    return Portable(
        values | {"architectures": ["LlamaForCausalLM"]}, finish, note if config.norm_head else ""
    )  # fmt: skip


PARTS = Parts(query_key_value)

LAYOUT = Layout(
    config=BaichuanConfig,
    model=BaichuanForCausalLM,
    fused=(
        Fused(
            ".self_attn.W_pack.",
            (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."),
            PARTS.split,
            PARTS.join,
        ),
    ),
    portable=portable,
)


def layout() -> Layout:
    """The layout of the family's original checkpoints."""
    return LAYOUT

"""InternLM2 checkpoints on `LlamaForCausalLM`, which computes the same.

Facts: https://huggingface.co/internlm/internlm2-7b (config.json, modeling_internlm2.py). `wqkv` holds, for each key
head, its query heads, its key and its value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from plugtune.modeling.layout import Fused, Layout, OriginalConfig, Portable
from transformers import LlamaConfig, LlamaForCausalLM

SAME = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "hidden_act", "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling",
)  # fmt: skip


class InternLM2Config(OriginalConfig, LlamaConfig):
    """Almost LLaMA's keys; `bias` is that of the attention."""

    model_type = "internlm2"

    @classmethod
    def translate(cls, original: Mapping[str, Any]) -> dict[str, Any]:
        """Native values."""
        values = {key: original[key] for key in SAME if original.get(key) is not None}
        return values | {
            "attention_bias": bool(original.get("bias")),
            "tie_word_embeddings": bool(original.get("tie_word_embeddings")),
        }


class InternLM2ForCausalLM(LlamaForCausalLM):
    """LLaMA under InternLM2's name."""

    config_class = InternLM2Config
    _keys_to_ignore_on_load_unexpected = [r"inv_freq$"]


def split(tensor: torch.Tensor, config: Any) -> Sequence[torch.Tensor]:
    """`(groups · (queries + 2) · size, …)` → queries, keys, values."""
    groups, size = config.num_key_value_heads, config.head_dim
    queries = config.num_attention_heads // groups
    parts = tensor.unflatten(0, (groups, queries + 2, size))
    return [parts[:, :queries].flatten(0, 2).clone(), parts[:, -2].flatten(0, 1).clone(),
            parts[:, -1].flatten(0, 1).clone()]  # fmt: skip


def join(tensors: Sequence[torch.Tensor], config: Any) -> torch.Tensor:
    """The way back."""
    groups, size = config.num_key_value_heads, config.head_dim
    parts = [t.unflatten(0, (groups, -1, size)) for t in tensors]
    return torch.cat(parts, dim=1).flatten(0, 2)


def portable(config: Any) -> Portable:
    """A LLaMA checkpoint; nothing else differs."""
    values = LlamaConfig(**{k: v for k, v in config.to_dict().items() if k != "model_type"}).to_diff_dict()
    return Portable(values | {"architectures": ["LlamaForCausalLM"]})


LAYOUT = Layout(
    config=InternLM2Config,
    model=InternLM2ForCausalLM,
    renames=(
        ("^model.tok_embeddings.", "^model.embed_tokens."),
        ("^output.", "^lm_head."),
        (".attention.wo.", ".self_attn.o_proj."),
        (".attention_norm.", ".input_layernorm."),
        (".ffn_norm.", ".post_attention_layernorm."),
        (".feed_forward.w1.", ".mlp.gate_proj."),
        (".feed_forward.w3.", ".mlp.up_proj."),
        (".feed_forward.w2.", ".mlp.down_proj."),
    ),
    fused=(Fused(".attention.wqkv.", (".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."), split, join),),
    portable=portable,
)


def layout() -> Layout:
    """The layout of the family's original checkpoints."""
    return LAYOUT

"""XVERSE checkpoints on `LlamaForCausalLM`: names, tensors and maths are LLaMA's.

Facts: https://huggingface.co/xverse/XVERSE-7B (config.json, modeling_xverse.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune.modeling.layout import Layout, OriginalConfig, Portable
from transformers import LlamaConfig, LlamaForCausalLM

SAME = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
    "max_position_embeddings", "rms_norm_eps", "rope_theta",
)  # fmt: skip


class XverseConfig(OriginalConfig, LlamaConfig):
    """LLaMA's keys under another model type."""

    model_type = "xverse"

    @classmethod
    def translate(cls, original: Mapping[str, Any]) -> dict[str, Any]:
        """Native values."""
        values = {key: original[key] for key in SAME if original.get(key) is not None}
        return values | {"tie_word_embeddings": bool(original.get("tie_word_embeddings"))}


class XverseForCausalLM(LlamaForCausalLM):
    """LLaMA under XVERSE's name."""

    config_class = XverseConfig
    _keys_to_ignore_on_load_unexpected = [r"inv_freq$"]


def portable(config: Any) -> Portable:
    """A LLaMA checkpoint; nothing else differs."""
    values = LlamaConfig(**{k: v for k, v in config.to_dict().items() if k != "model_type"}).to_diff_dict()
    return Portable(values | {"architectures": ["LlamaForCausalLM"]})


LAYOUT = Layout(config=XverseConfig, model=XverseForCausalLM, portable=portable)


def layout() -> Layout:
    """The layout of the family's original checkpoints."""
    return LAYOUT

"""Reads Baichuan's config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune.modeling.layout import OriginalConfig
from transformers import LlamaConfig

SAME = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
    "rms_norm_eps",
)  # fmt: skip

FIRST_VOCABULARY = 64000


class BaichuanConfig(OriginalConfig, LlamaConfig):
    """Tells the four models of one model type apart.

    Attributes:
        alibi: positions as biases of the attention (13B) instead of rotations (7B).
        norm_head: rows of the output head are normalised (Baichuan2).
    """

    model_type = "baichuan"
    alibi: bool = False
    norm_head: bool = True

    @classmethod
    def translate(cls, original: Mapping[str, Any]) -> dict[str, Any]:
        """Native values."""
        values = {key: original[key] for key in SAME if original.get(key) is not None}
        length = original.get("max_position_embeddings")
        first = original.get("vocab_size") == FIRST_VOCABULARY or "BaiChuanForCausalLM" in (
            original.get("architectures") or ()
        )
        return values | {
            "alibi": length is None,
            "norm_head": not first,
            "max_position_embeddings": length or original.get("model_max_length", 4096),
            "tie_word_embeddings": bool(original.get("tie_word_embeddings")),
        }

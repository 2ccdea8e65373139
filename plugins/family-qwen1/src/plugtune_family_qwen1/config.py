"""Reads the first Qwen's config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune.errors import RequestError
from plugtune.modeling.layout import OriginalConfig
from transformers import Qwen2Config


class QWenConfig(OriginalConfig, Qwen2Config):
    """Reads `intermediate_size` (twice the real one), `seq_length` and kin.

    Attributes:
        seq_length: tokens of the training sequences; longer ones are scaled in evaluation.
        use_dynamic_ntk, use_logn_attn: which of the two scalings.
    """

    model_type = "qwen"
    seq_length: int = 8192
    use_dynamic_ntk: bool = False
    use_logn_attn: bool = False

    @classmethod
    def translate(cls, original: Mapping[str, Any]) -> dict[str, Any]:
        """Native values."""
        quantized = (original.get("quantization_config") or {}).get("quant_method")
        if quantized in ("gptq", "awq"):
            raise RequestError(
                f"this Qwen checkpoint is quantized already ({quantized}) in a format that is not read here",
                where="config.json", fix="use the plain checkpoint (without -Int4) and add --quantization_bit 4",
            )  # fmt: skip
        if original.get("no_bias") is False:
            raise RequestError("no_bias is false", where="config.json", why="this is not computed here")
        length = original.get("seq_length", 8192)
        return {
            "vocab_size": original["vocab_size"],
            "hidden_size": original["hidden_size"],
            "intermediate_size": original["intermediate_size"] // 2,
            "num_hidden_layers": original["num_hidden_layers"],
            "num_attention_heads": original["num_attention_heads"],
            "num_key_value_heads": original["num_attention_heads"],
            "head_dim": original.get("kv_channels") or original["hidden_size"] // original["num_attention_heads"],
            "rms_norm_eps": original.get("layer_norm_epsilon", 1e-6),
            "attention_dropout": original.get("attn_dropout_prob", 0.0),
            "max_position_embeddings": max(length, original.get("max_position_embeddings", length)),
            "tie_word_embeddings": bool(original.get("tie_word_embeddings")),
            "rope_parameters": {"rope_type": "default", "rope_theta": float(original.get("rotary_emb_base", 10000))},
            "seq_length": length,
            "use_dynamic_ntk": bool(original.get("use_dynamic_ntk")),
            "use_logn_attn": bool(original.get("use_logn_attn")),
        }

"""Which models GGUF files can be written for here, and what their headers say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune import RequestError

ARCHITECTURES = {
    "LlamaForCausalLM": "llama", "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3",
}  # fmt: skip
"""Class in config.json → architecture in GGUF. Mistral's dense models are written as llama, as llama.cpp does."""


def architecture_of(config: Mapping[str, Any]) -> str:
    """The architecture of a config.

    Raises:
        RequestError: it is none that is written here.
    """
    names = config.get("architectures") or []
    found = next((ARCHITECTURES[name] for name in names if name in ARCHITECTURES), None)
    if found is None:
        raise RequestError(
            f"no GGUF form is known here for {', '.join(names) or 'this model'}", where="exporter",
            why=f"known: {', '.join(sorted(ARCHITECTURES))}", fix="--exporter merged writes a plain model folder",
        )  # fmt: skip
    return found


def write_header(writer: Any, config: Mapping[str, Any], arch: str, kind: str, name: str) -> None:
    """The numbers that a reader needs to build the model."""
    import gguf

    heads = int(config["num_attention_heads"])
    size = int(config.get("head_dim") or config["hidden_size"] // heads)
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    writer.add_name(name)
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(int(config["hidden_size"]))
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0))
    writer.add_vocab_size(int(config["vocab_size"]))
    if config.get("sliding_window") and config.get("use_sliding_window", arch == "llama"):
        writer.add_sliding_window(int(config["sliding_window"]))
    _rope(writer, rope)
    types = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}
    writer.add_file_type(int(gguf.LlamaFileType[types[kind]]))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _rope(writer: Any, rope: Mapping[str, Any]) -> None:
    """Scaled positions.

    Raises:
        RequestError: GGUF has no form for this scaling.
    """
    import gguf

    kind = str(rope.get("rope_type") or rope.get("type") or "default")
    if kind == "default":
        return
    if kind not in ("linear", "yarn"):
        raise RequestError(f"positions scaled by {kind} cannot be written as GGUF here", where="rope_scaling")
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR if kind == "linear" else gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(float(rope["factor"]))
    if kind == "yarn" and rope.get("original_max_position_embeddings"):
        writer.add_rope_scaling_orig_ctx_len(int(rope["original_max_position_embeddings"]))

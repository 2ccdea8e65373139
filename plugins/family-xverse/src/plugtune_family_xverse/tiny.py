"""A tiny random checkpoint of XVERSE in its original layout: the published config scaled down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plugtune.testkit import tiny

CONFIG = {
    "architectures": ["XverseForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_xverse.XverseConfig",
                 "AutoModelForCausalLM": "modeling_xverse.XverseForCausalLM"},
    "pad_token_id": 1, "bos_token_id": 2, "eos_token_id": 3, "hidden_act": "silu", "hidden_size": 64,
    "initializer_range": 0.02, "intermediate_size": 96, "max_position_embeddings": 8192,
    "max_tokenizer_truncation": 8192, "model_type": "xverse", "num_attention_heads": 4, "num_hidden_layers": 2,
    "rms_norm_eps": 1e-06, "tie_word_embeddings": False, "torch_dtype": "float32", "transformers_version": "4.28.1",
    "use_cache": True, "vocab_size": 512,
}  # fmt: skip


def make(folder: Path, model_type: str, seed: int) -> None:
    """Write it (see `plugtune.testkit.tiny.make`)."""
    tiny.write_tokenizer(folder, [], bos="<|startoftext|>", eos="<|endoftext|>")
    tiny.write_original(folder, CONFIG, shapes(CONFIG), seed)


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Original tensor names and shapes."""
    saved = (config["hidden_size"] // config["num_attention_heads"] // 2,)
    blocks = range(config["num_hidden_layers"])
    return tiny.llama_shapes(config) | {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": saved for n in blocks}

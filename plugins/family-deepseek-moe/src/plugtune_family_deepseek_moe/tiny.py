"""A tiny random checkpoint of DeepSeek-MoE in its original layout: the published config scaled down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plugtune.testkit import tiny

CONFIG = {
    "architectures": ["DeepseekForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekConfig",
                 "AutoModelForCausalLM": "modeling_deepseek.DeepseekForCausalLM"},
    "aux_loss_alpha": 0.001, "bos_token_id": 1, "eos_token_id": 2, "first_k_dense_replace": 1, "hidden_act": "silu",
    "hidden_size": 64, "initializer_range": 0.02, "intermediate_size": 96, "max_position_embeddings": 4096,
    "model_type": "deepseek", "moe_intermediate_size": 24, "moe_layer_freq": 1, "n_routed_experts": 8,
    "n_shared_experts": 2, "norm_topk_prob": False, "num_attention_heads": 4, "num_experts_per_tok": 3,
    "num_hidden_layers": 3, "num_key_value_heads": 4, "pretraining_tp": 1, "rms_norm_eps": 1e-06,
    "rope_scaling": None, "rope_theta": 10000, "scoring_func": "softmax", "seq_aux": True,
    "tie_word_embeddings": False, "torch_dtype": "float32", "transformers_version": "4.36.0", "use_cache": True,
    "vocab_size": 512,
}  # fmt: skip


def make(folder: Path, model_type: str, seed: int) -> None:
    """Write it (see `plugtune.testkit.tiny.make`)."""
    tiny.write_tokenizer(folder, [], bos="<｜begin▁of▁sentence｜>", eos="<｜end▁of▁sentence｜>")
    tiny.write_original(folder, CONFIG, shapes(CONFIG), seed)


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Original tensor names and shapes."""
    size, width, names = config["hidden_size"], config["moe_intermediate_size"], tiny.llama_shapes(config)
    for n in range(config["first_k_dense_replace"], config["num_hidden_layers"]):
        mlp = f"model.layers.{n}.mlp"
        for part in ("gate", "up", "down"):
            del names[f"{mlp}.{part}_proj.weight"]
        names[f"{mlp}.gate.weight"] = (config["n_routed_experts"], size)
        names |= tiny.gated_shapes(f"{mlp}.shared_experts", size, width * config["n_shared_experts"])
        for expert in range(config["n_routed_experts"]):
            names |= tiny.gated_shapes(f"{mlp}.experts.{expert}", size, width)
    return names

"""A tiny random checkpoint of Yuan2 in its original layout: the published config scaled down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plugtune.testkit import tiny

CONFIG = {
    "_from_model_config": True, "architectures": ["YuanForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_yuan.YuanConfig",
                 "AutoModelForCausalLM": "yuan_hf_model.YuanForCausalLM"},
    "causal_mask": True, "dropout": 0.1, "bos_token_id": 3, "eos_token_id": 4, "eod_token": 4, "eod_token_id": 4,
    "hidden_act": "silu", "hidden_size": 64, "initializer_range": 0.02, "intermediate_size": 96,
    "mask_token_id": 6, "max_position_embeddings": 8192, "model_max_length": 8192, "model_type": "yuan",
    "num_attention_heads": 4, "num_hidden_layers": 2, "pad_token_id": 5, "reset_attention_mask": True,
    "reset_position_ids": False, "rms_norm_eps": 1e-06, "sep_token": 7, "sep_token_id": 7,
    "tie_word_embeddings": True, "tokenizer_class": "YuanTokenizer", "torch_dtype": "float32",
    "transformers_version": "4.30.0.dev0", "use_cache": True, "use_flash_attention": False, "use_loss_mask": False,
    "vocab_size": 512,
}  # fmt: skip

PLAIN = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True}
"""How the published vocabulary treats texts: as they are."""


def make(folder: Path, model_type: str, seed: int) -> None:
    """Write it (see `plugtune.testkit.tiny.make`)."""
    marks = ["<eop>", "<eod>", "<pad>", "<mask>", "<sep>"]
    tiny.train_sentencepiece(folder / "tokenizer.model", vocabulary=420, user_defined_symbols=marks, **PLAIN)
    values = {"add_bos_token": False, "add_eos_token": False, "bos_token": "<BOS>", "eos_token": "<eod>",
              "pad_token": "<pad>", "sep_token": "<sep>", "tokenizer_class": "LlamaTokenizer"}  # fmt: skip
    tiny.write_json(folder / "tokenizer_config.json", values)
    tiny.write_original(folder, CONFIG, shapes(CONFIG), seed)


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Original tensor names and shapes."""
    size, names = config["hidden_size"], tiny.llama_shapes(config, head=False)
    for n in range(config["num_hidden_layers"]):
        gate = f"model.layers.{n}.self_attn.lf_gate"
        names |= {
            f"{gate}.conv1.weight": (size // 2, size, 2, 1),
            f"{gate}.conv1.bias": (size // 2,),
            f"{gate}.conv2.weight": (size, size // 2, 2, 1),
            f"{gate}.conv2.bias": (size,),
            f"{gate}.output_layernorm.weight": (size,),
        }
    return names

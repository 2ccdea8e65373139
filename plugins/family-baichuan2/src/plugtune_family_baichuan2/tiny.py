"""Tiny random checkpoints of Baichuan2, 7B and 13B (`LARGE`), in their original layout: configs scaled down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plugtune.testkit import tiny

CONFIG = {
    "architectures": ["BaichuanForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_baichuan.BaichuanConfig",
                 "AutoModelForCausalLM": "modeling_baichuan.BaichuanForCausalLM"},
    "tokenizer_class": "BaichuanTokenizer", "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    "hidden_act": "silu", "hidden_size": 64, "initializer_range": 0.02, "intermediate_size": 96,
    "max_position_embeddings": 4096, "model_max_length": 4096, "model_type": "baichuan", "num_attention_heads": 4,
    "num_hidden_layers": 2, "rms_norm_eps": 1e-06, "_from_model_config": True, "tie_word_embeddings": False,
    "torch_dtype": "float32", "transformers_version": "4.29.2", "use_cache": True, "vocab_size": 512,
}  # fmt: skip

LARGE = {key: value for key, value in CONFIG.items() if key != "max_position_embeddings"}
"""The form of the 13B models: no `max_position_embeddings`; its six heads test the slopes of no power of two."""
LARGE |= {"hidden_size": 96, "num_attention_heads": 6, "gradient_checkpointing": False, "z_loss_weight": 0}


def make(folder: Path, model_type: str, seed: int) -> None:
    """Write it (see `plugtune.testkit.tiny.make`)."""
    write(folder, CONFIG, seed)


def write(folder: Path, config: dict[str, Any], seed: int) -> None:
    """A checkpoint of either form."""
    symbols = [f"<reserved_{n}>" for n in range(104, 109)]
    tiny.train_sentencepiece(
        folder / "tokenizer.model", vocabulary=420, add_dummy_prefix=False, normalization_rule_name="identity",
        remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, split_digits=True,
        user_defined_symbols=symbols,
    )  # fmt: skip
    names = {"AutoTokenizer": ["tokenization_baichuan.BaichuanTokenizer", None]}
    values = {"add_bos_token": False, "add_eos_token": False, "tokenizer_class": "BaichuanTokenizer", "use_fast": False}
    marks = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
    added = {key: {"__type": "AddedToken", "content": mark, "lstrip": False, "normalized": True, "rstrip": False,
                   "single_word": True} for key, mark in marks.items()}  # fmt: skip
    tiny.write_json(folder / "tokenizer_config.json", {**values, **added, "auto_map": names})
    tiny.write_json(folder / "generation_config.json", {"user_token_id": 195, "assistant_token_id": 196})
    tiny.write_original(folder, config, shapes(config), seed)


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Original tensor names and shapes."""
    size, names = config["hidden_size"], tiny.llama_shapes(config)
    for n in range(config["num_hidden_layers"]):
        attention = f"model.layers.{n}.self_attn"
        for part in "qkv":
            del names[f"{attention}.{part}_proj.weight"]
        names[f"{attention}.W_pack.weight"] = (3 * size, size)
        if "max_position_embeddings" in config:
            names[f"{attention}.rotary_emb.inv_freq"] = (size // config["num_attention_heads"] // 2,)
    return names

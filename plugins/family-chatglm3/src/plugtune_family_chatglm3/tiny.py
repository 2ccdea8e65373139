"""A tiny random checkpoint of ChatGLM3 in its original layout: the published config scaled down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plugtune.testkit import tiny

CONFIG = {
    "model_type": "chatglm", "architectures": ["ChatGLMModel"],
    "auto_map": {"AutoConfig": "configuration_chatglm.ChatGLMConfig",
                 "AutoModelForCausalLM": "modeling_chatglm.ChatGLMForConditionalGeneration"},
    "add_bias_linear": False, "add_qkv_bias": True, "apply_query_key_layer_scaling": True,
    "apply_residual_connection_post_layernorm": False, "attention_dropout": 0.0, "attention_softmax_in_fp32": True,
    "bias_dropout_fusion": True, "ffn_hidden_size": 96, "fp32_residual_connection": False, "hidden_dropout": 0.0,
    "hidden_size": 64, "kv_channels": 16, "layernorm_epsilon": 1e-05, "multi_query_attention": True,
    "multi_query_group_num": 2, "num_attention_heads": 4, "num_layers": 2, "original_rope": True,
    "padded_vocab_size": 512, "post_layer_norm": True, "rmsnorm": True, "seq_length": 8192, "use_cache": True,
    "torch_dtype": "float32", "transformers_version": "4.27.1", "tie_word_embeddings": False, "eos_token_id": 2,
    "pad_token_id": 0,
}  # fmt: skip

PLAIN = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True}
"""How the published vocabulary treats texts: as they are."""


def make(folder: Path, model_type: str, seed: int) -> None:
    """Write it (see `plugtune.testkit.tiny.make`)."""
    tiny.train_sentencepiece(folder / "tokenizer.model", vocabulary=400, **PLAIN)
    values = {"tokenizer_class": "ChatGLMTokenizer", "remove_space": False, "do_lower_case": False}
    names = {"AutoTokenizer": ["tokenization_chatglm.ChatGLMTokenizer", None]}
    tiny.write_json(folder / "tokenizer_config.json", {**values, "auto_map": names})
    tiny.write_original(folder, CONFIG, shapes(CONFIG), seed)


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Original tensor names and shapes."""
    size, ffn, vocabulary = config["hidden_size"], config["ffn_hidden_size"], config["padded_vocab_size"]
    rows = size + 2 * config["multi_query_group_num"] * config["kv_channels"]
    names: dict[str, tuple[int, ...]] = {
        "transformer.embedding.word_embeddings.weight": (vocabulary, size),
        "transformer.rotary_pos_emb.inv_freq": (config["kv_channels"] // 4,),
        "transformer.encoder.final_layernorm.weight": (size,),
        "transformer.output_layer.weight": (vocabulary, size),
    }
    for n in range(config["num_layers"]):
        block = f"transformer.encoder.layers.{n}"
        names |= {
            f"{block}.input_layernorm.weight": (size,),
            f"{block}.self_attention.query_key_value.weight": (rows, size),
            f"{block}.self_attention.query_key_value.bias": (rows,),
            f"{block}.self_attention.dense.weight": (size, size),
            f"{block}.post_attention_layernorm.weight": (size,),
            f"{block}.mlp.dense_h_to_4h.weight": (2 * ffn, size),
            f"{block}.mlp.dense_4h_to_h.weight": (size, ffn),
        }
    return names

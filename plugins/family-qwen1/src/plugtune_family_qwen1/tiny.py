"""A tiny random checkpoint of the first Qwen in its original layout: the published config scaled down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plugtune.testkit import tiny

CONFIG = {
    "architectures": ["QWenLMHeadModel"],
    "auto_map": {"AutoConfig": "configuration_qwen.QWenConfig",
                 "AutoModelForCausalLM": "modeling_qwen.QWenLMHeadModel"},
    "attn_dropout_prob": 0.0, "bf16": False, "emb_dropout_prob": 0.0, "fp16": False, "fp32": False, "hidden_size": 64,
    "intermediate_size": 192, "initializer_range": 0.02, "kv_channels": 16, "layer_norm_epsilon": 1e-06,
    "max_position_embeddings": 8192, "model_type": "qwen", "no_bias": True, "num_attention_heads": 4,
    "num_hidden_layers": 2, "onnx_safe": None, "rotary_emb_base": 10000, "rotary_pct": 1.0,
    "scale_attn_weights": True, "seq_length": 8192, "tie_word_embeddings": False, "tokenizer_class": "QWenTokenizer",
    "transformers_version": "4.32.0", "use_cache": True, "use_dynamic_ntk": True, "use_flash_attn": "auto",
    "use_logn_attn": True, "vocab_size": 640,
}  # fmt: skip

MERGES = 80
"""Ranks above the 256 bytes in the tiny qwen.tiktoken."""


def make(folder: Path, model_type: str, seed: int) -> None:
    """Write it (see `plugtune.testkit.tiny.make`)."""
    write_ranks(folder / "qwen.tiktoken")
    names = {"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]}
    values = {"model_max_length": 8192, "tokenizer_class": "QWenTokenizer", "auto_map": names}
    tiny.write_json(folder / "tokenizer_config.json", values)
    tiny.write_original(folder, CONFIG, shapes(CONFIG), seed)


def write_ranks(file: Path) -> None:
    """A small qwen.tiktoken: the bytes, then the most frequent pairs one after the other, a base64 and rank a line."""
    import base64
    from collections import Counter
    from itertools import pairwise

    ranks = [bytes([value]) for value in range(256)]
    words = [[bytes([value]) for value in word.encode()] for text in tiny.WORDS for word in text.split(" ")]
    for _ in range(MERGES):
        pairs = Counter(pair for word in words for pair in pairwise(word))
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        ranks.append(best[0] + best[1])
        words = [_merged(word, best) for word in words]
    lines = [f"{base64.b64encode(token).decode()} {rank}" for rank, token in enumerate(ranks)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _merged(word: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    made: list[bytes] = []
    for piece in word:
        made.append(piece)
        if len(made) > 1 and (made[-2], made[-1]) == pair:
            made[-2:] = [pair[0] + pair[1]]
    return made


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Original tensor names and shapes."""
    size, ffn, vocabulary = config["hidden_size"], config["intermediate_size"] // 2, config["vocab_size"]
    names: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (vocabulary, size),
        "transformer.ln_f.weight": (size,),
        "lm_head.weight": (vocabulary, size),
    }
    for n in range(config["num_hidden_layers"]):
        block = f"transformer.h.{n}"
        names |= {
            f"{block}.ln_1.weight": (size,),
            f"{block}.attn.c_attn.weight": (3 * size, size),
            f"{block}.attn.c_attn.bias": (3 * size,),
            f"{block}.attn.c_proj.weight": (size, size),
            f"{block}.ln_2.weight": (size,),
            f"{block}.mlp.w1.weight": (ffn, size),
            f"{block}.mlp.w2.weight": (ffn, size),
            f"{block}.mlp.c_proj.weight": (size, ffn),
        }
    return names

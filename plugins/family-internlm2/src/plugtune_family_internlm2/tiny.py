"""A tiny random checkpoint of InternLM2 in its original layout: the published config scaled down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plugtune.testkit import tiny

CONFIG = {
    "architectures": ["InternLM2ForCausalLM"], "attn_implementation": "eager",
    "auto_map": {"AutoConfig": "configuration_internlm2.InternLM2Config",
                 "AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM"},
    "bias": False, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 64,
    "initializer_range": 0.02, "intermediate_size": 96, "max_position_embeddings": 4096, "model_type": "internlm2",
    "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "pad_token_id": 2,
    "rms_norm_eps": 1e-05, "rope_scaling": {"type": "dynamic", "factor": 2.0}, "rope_theta": 1000000,
    "tie_word_embeddings": False, "torch_dtype": "float32", "transformers_version": "4.37.1", "use_cache": True,
    "vocab_size": 512,
}  # fmt: skip

CHAT = ("<|plugin|>", "<|interpreter|>", "<|action_end|>", "<|action_start|>", "<|im_end|>", "<|im_start|>")
"""What the chat models call the last unused pieces of the vocabulary, in their order."""


def make(folder: Path, model_type: str, seed: int) -> None:
    """Write it (see `plugtune.testkit.tiny.make`)."""
    vocabulary, unused = 420, len(CHAT)
    symbols = [f"[UNUSED_TOKEN_{n}]" for n in range(141, 141 + unused)]
    tiny.train_sentencepiece(
        folder / "tokenizer.model", vocabulary=vocabulary, normalization_rule_name="identity",
        remove_extra_whitespaces=False, add_dummy_prefix=False, allow_whitespace_only_pieces=True, split_digits=True,
        user_defined_symbols=symbols,
    )  # fmt: skip
    first = _index(folder / "tokenizer.model", symbols[0])
    added = {str(first + n): {"content": name, "lstrip": False, "normalized": False, "rstrip": False,
                              "single_word": False, "special": True} for n, name in enumerate(CHAT)}  # fmt: skip
    added |= {str(n): {"content": name, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                       "special": True} for n, name in enumerate(("<unk>", "<s>", "</s>"))}  # fmt: skip
    values = {
        "added_tokens_decoder": added, "additional_special_tokens": list(reversed(CHAT)), "bos_token": "<s>",
        "clean_up_tokenization_spaces": False, "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>",
        "tokenizer_class": "InternLM2Tokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
    }  # fmt: skip
    tiny.write_json(folder / "tokenizer_config.json", values)
    tiny.write_original(folder, CONFIG, shapes(CONFIG), seed)


def _index(file: Path, piece: str) -> int:
    import sentencepiece

    return int(sentencepiece.SentencePieceProcessor(model_file=str(file)).piece_to_id(piece))


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Original tensor names and shapes."""
    size, ffn, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    head = size // config["num_attention_heads"]
    rows = size + 2 * config["num_key_value_heads"] * head
    names: dict[str, tuple[int, ...]] = {
        "model.tok_embeddings.weight": (vocabulary, size),
        "model.norm.weight": (size,),
        "output.weight": (vocabulary, size),
    }
    for n in range(config["num_hidden_layers"]):
        block = f"model.layers.{n}"
        names |= {
            f"{block}.attention_norm.weight": (size,),
            f"{block}.attention.wqkv.weight": (rows, size),
            f"{block}.attention.wo.weight": (size, size),
            f"{block}.ffn_norm.weight": (size,),
            f"{block}.feed_forward.w1.weight": (ffn, size),
            f"{block}.feed_forward.w2.weight": (size, ffn),
            f"{block}.feed_forward.w3.weight": (ffn, size),
        }
    return names

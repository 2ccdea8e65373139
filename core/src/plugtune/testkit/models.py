"""Tiny random models and tokenizers of any architecture that transformers knows: seconds to train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = ["The quick brown fox answers questions.", "user assistant system Hello world", "你好，我是一个助手。"]
SMALL = {
    "hidden_size": 32, "n_embd": 32, "d_model": 32, "intermediate_size": 64, "moe_intermediate_size": 32,
    "num_hidden_layers": 2, "n_layer": 2, "num_attention_heads": 4, "n_head": 4, "num_key_value_heads": 2,
    "head_dim": 8, "max_position_embeddings": 512, "n_positions": 512, "num_experts": 4, "num_local_experts": 4,
    "n_routed_experts": 4, "num_experts_per_tok": 2, "sliding_window": 512, "vocab_size_per_layer_input": 32,
}  # fmt: skip
"""Sizes by the names that configs give them."""


class UnknownModelType(Exception):
    """transformers has no causal language model of that type."""


def tiny_tokenizer(specials: Sequence[str] = (), size: int = 400) -> Any:
    """A byte-level BPE tokenizer with ChatML's tokens and chat template, and further special tokens.

    With `size=0` it has no merges: a byte is a token, whatever stands beside it.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokens = list(dict.fromkeys(["<s>", "</s>", "<|im_start|>", "<|im_end|>", *specials]))
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    tokenizer.chat_template = CHATML
    return tokenizer


def tiny_model(model_type: str, vocabulary: int = 400, seed: int = 0) -> Any:
    """A causal language model of a type with some 20,000 random weights.

    Raises:
        UnknownModelType: transformers has none.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        kind: Any = type(AutoConfig.for_model(model_type))
    except ValueError as error:
        raise UnknownModelType(model_type) from error
    if kind not in AutoModelForCausalLM._model_mapping:
        raise UnknownModelType(model_type)
    known = set(kind().to_dict())
    sizes = {name: value for name, value in SMALL.items() if name in known or name in kind.attribute_map}
    config = kind(**sizes, vocab_size=vocabulary, bos_token_id=0, eos_token_id=1, pad_token_id=1)
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def tiny_folder(folder: Path, model_type: str = "llama") -> Path:
    """A model folder as a hub would give it: weights, config, tokenizer.

    Raises:
        UnknownModelType: transformers has no such model.
    """
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    # With room for the special tokens that some architectures' tokenizer classes add when they load it.
    tiny_model(model_type, len(tokenizer) + 64).save_pretrained(folder)
    return folder

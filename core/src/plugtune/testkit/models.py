"""Tiny random models and tokenizers of any architecture that transformers knows: seconds to train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError
from plugtune.testkit.tiny import CHATML, small_config

CORPUS = ["The quick brown fox answers questions.", "user assistant system Hello world", "你好，我是一个助手。"]


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


def tiny_model(model_type: str, tokenizer: Any, seed: int = 0) -> Any:
    """A causal language model of a type with some 50,000 random weights.

    Raises:
        UnknownModelType: transformers has none.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        config = small_config(model_type, tokenizer)
    except RequestError as error:
        raise UnknownModelType(model_type) from error
    if type(config) not in AutoModelForCausalLM._model_mapping:
        raise UnknownModelType(model_type)
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def tiny_folder(folder: Path, model_type: str = "llama") -> Path:
    """A model folder as a hub would give it: weights, config, tokenizer.

    Raises:
        UnknownModelType: transformers has no such model.
    """
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    tiny_model(model_type, tokenizer).save_pretrained(folder)
    return folder

"""Loads a tokenizer and prepares it: pad token, padding side, new tokens."""

from __future__ import annotations

from typing import Any

from plugtune.errors import RequestError
from plugtune.modeling.locate import Located
from plugtune.options.groups import ModelOptions


def load_tokenizer(located: Located, options: ModelOptions) -> Any:
    """The tokenizer of a located model.

    Raises:
        RequestError: it cannot be loaded; keeps the cause.
    """
    from plugtune.capabilities import load_ref

    try:
        tokenizer = None
        if located.family is not None and located.family.tokenizer:
            tokenizer = load_ref(located.family.tokenizer)(located.folder)
            if tokenizer is not None and options.split_special_tokens:
                tokenizer.split_special_tokens = True
        if tokenizer is None:
            from transformers import AutoTokenizer

            extra = {"gguf_file": located.gguf_file} if located.gguf_file else {}
            tokenizer = AutoTokenizer.from_pretrained(
                str(located.folder), use_fast=options.use_fast_tokenizer, trust_remote_code=options.trust_remote_code,
                split_special_tokens=options.split_special_tokens, **extra,
            )  # fmt: skip
    except Exception as error:  # the library raises many kinds
        raise RequestError(
            "the tokenizer cannot be loaded",
            where=str(located.folder),
            why=f"{type(error).__name__}: {error}".split("\n")[0],
        ) from error
    if options.add_tokens:
        tokenizer.add_tokens(options.add_tokens)
    if options.add_special_tokens:
        tokenizer.add_special_tokens({"additional_special_tokens": options.add_special_tokens})
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer

"""Reads Yuan2's config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune.errors import RequestError
from plugtune.modeling.layout import OriginalConfig
from transformers import LlamaConfig

SAME = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act",
    "max_position_embeddings", "rms_norm_eps",
)  # fmt: skip


class YuanConfig(OriginalConfig, LlamaConfig):
    """LLaMA's keys and those of end-of-document tokens.

    Attributes:
        eod_token: id of the end of a document.
        reset_attention_mask: in training no token sees what is before an end of document.
        reset_position_ids: the same in evaluation, too (the original does no more than that with it).
    """

    model_type = "yuan"
    eod_token: int | None = None
    reset_attention_mask: bool = False
    reset_position_ids: bool = False

    @classmethod
    def translate(cls, original: Mapping[str, Any]) -> dict[str, Any]:
        """Native values."""
        if original.get("use_shareqk"):
            raise RequestError("use_shareqk is true", where="config.json", why="this is not computed here")
        values = {key: original[key] for key in SAME if original.get(key) is not None}
        return values | {
            "tie_word_embeddings": bool(original.get("tie_word_embeddings", True)),
            "eod_token": original.get("eod_token"),
            "reset_attention_mask": bool(original.get("reset_attention_mask")),
            "reset_position_ids": bool(original.get("reset_position_ids")),
        }

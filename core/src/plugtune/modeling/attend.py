"""What attention modules of families share: the cache under both of its names, and the chosen attention function."""

from __future__ import annotations

from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import eager_attention_forward


def cache_of(values: dict[str, Any]) -> Any:
    """The cache among the arguments of a forward pass; transformers called it `past_key_values` before 5.24."""
    cache = values.get("cache")
    return cache if cache is not None else values.get("past_key_values")


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention as the model's config chooses it, with the output projection.

    Args:
        module: a decoder layer's attention (`config`, `layer_idx`, `scaling`, `o_proj`).
        query, key, value: `(batch, heads, tokens, size)`, of the new tokens, rotated where the model rotates.
        attention_mask: `(batch, 1 or heads, tokens, keys)` or `None`.
        kwargs: the rest of what the layer was given, the cache included.

    Returns:
        `(batch, tokens, hidden)` and the weights where the function gives them.
    """
    cache = cache_of(kwargs)
    for name in ("cache", "past_key_values", "use_cache", "position_ids"):
        kwargs.pop(name, None)
    if cache is not None:
        key, value = cache.update(key, value, module.layer_idx)
    function = ALL_ATTENTION_FUNCTIONS.get_interface(module.config._attn_implementation, eager_attention_forward)
    dropout = module.attention_dropout if module.training else 0.0
    output, weights = function(
        module, query, key, value, attention_mask, dropout=dropout, scaling=module.scaling, **kwargs
    )
    return module.o_proj(output.reshape(*output.shape[:2], -1).contiguous()), weights


def heads(module: Any, states: torch.Tensor) -> torch.Tensor:
    """`(batch, tokens, heads · size)` → `(batch, heads, tokens, size)`."""
    return states.view(*states.shape[:-1], -1, module.head_dim).transpose(1, 2)

"""Qwen2 with the long-context scalings of the first Qwen, which act in evaluation beyond `seq_length` tokens only.

For a sequence of L tokens the rotation's base is multiplied by α^(d/(d−2)) with α = max(1, 2^ceil(log2(L/s)+1) − 1),
s being `seq_length` and d the head's size (dynamic NTK); the query at 1-based position p > s is multiplied by
log_s(p) (LogN attention). While generating, α stays that of the prompt: keys in the cache were rotated with it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from plugtune.modeling.attend import attend, cache_of, heads
from transformers import DynamicCache, Qwen2ForCausalLM
from transformers.cache_utils import DynamicLayer
from transformers.models.qwen2.modeling_qwen2 import (
    Qwen2Attention,
    Qwen2Model,
    Qwen2RotaryEmbedding,
    apply_rotary_pos_emb,
)

from plugtune_family_qwen1.config import QWenConfig


class ScaledRotaryEmbedding(Qwen2RotaryEmbedding):
    """Rotation whose base may be scaled for each sequence."""

    alpha: torch.Tensor | None = None
    """`(batch, 1 or tokens)`, set for one forward pass; `None` is 1."""

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin, `(batch, tokens, size)`."""
        if self.alpha is None:
            return super().forward(x, position_ids)
        size = 2 * self.inv_freq.shape[0]
        # base·α^(d/(d−2)) to the power −2i/d is the usual frequency times α^(−2i/(d−2)).
        power = torch.arange(0, size, 2, device=x.device, dtype=torch.float) / (size - 2)
        frequency = self.inv_freq.to(x.device, torch.float) * self.alpha.to(x.device)[..., None].pow(-power)
        angles = position_ids[..., None].float() * frequency
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class LognAttention(Qwen2Attention):
    """Qwen2's attention with queries that may be scaled."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None,
        query_scale: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`query_scale` is `(batch, tokens)`."""
        query, key, value = (heads(self, layer(hidden_states)) for layer in (self.q_proj, self.k_proj, self.v_proj))
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        if query_scale is not None:
            query = query * query_scale[:, None, :, None].to(query.dtype)
        return attend(self, query, key, value, attention_mask, **kwargs)


class QWenModel(Qwen2Model):
    """Qwen2's blocks; decides about the scalings once per forward pass."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        for index, layer in enumerate(self.layers):
            layer.self_attn = LognAttention(config, index)
        self.rotary_emb = ScaledRotaryEmbedding(config)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As Qwen2's."""
        tokens = input_ids if input_ids is not None else inputs_embeds
        assert tokens is not None
        cache = cache_of(kwargs)
        seen = cache.get_seq_length() if cache is not None else 0
        if self.training or seen + tokens.shape[1] <= self.config.seq_length:
            alpha = None
        else:
            position_ids = _positions(tokens, attention_mask, position_ids, seen)
            alpha = self._alpha(position_ids, kwargs.get("cu_seq_lens_q")) if seen == 0 else None
            if self.config.use_logn_attn:
                kwargs["query_scale"] = self._logn(position_ids)
        if seen and self.config.use_dynamic_ntk:
            alpha = _kept_alpha(cache, len(self.layers))
        rotary: Any = self.rotary_emb
        rotary.alpha = alpha
        try:
            output = super().forward(
                input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                inputs_embeds=inputs_embeds, **kwargs,
            )  # fmt: skip
        finally:
            rotary.alpha = None
        made = cache if cache is not None else cache_of(dict(output) if hasattr(output, "keys") else {})
        if isinstance(made, DynamicCache) and self.config.use_dynamic_ntk:
            _keep_alpha(made, len(self.layers), alpha, tokens)
        return output

    def _alpha(self, position_ids: torch.Tensor, bounds: torch.Tensor | None) -> torch.Tensor | None:
        """α of each sequence, `(batch, 1)`, or of each token of rows laid end to end, `(1, tokens)`."""
        if not self.config.use_dynamic_ntk:
            return None
        if bounds is None:
            lengths = position_ids.max(dim=1, keepdim=True).values + 1
        else:
            sizes = (bounds[1:] - bounds[:-1]).long()
            lengths = torch.repeat_interleave(sizes, sizes)[None]
        alpha = torch.ceil(torch.log2(lengths / self.config.seq_length) + 1).exp2() - 1
        return alpha.clamp(min=1)

    def _logn(self, position_ids: torch.Tensor) -> torch.Tensor:
        return (torch.log((position_ids + 1).float()) / math.log(self.config.seq_length)).clamp(min=1)


def _keep_alpha(cache: DynamicCache, place: int, alpha: torch.Tensor | None, tokens: torch.Tensor) -> None:
    """Keep α as the keys `(batch, 1, tokens, 1)` of one layer more, so that it follows its row wherever that goes."""
    shape = (tokens.shape[0], 1, tokens.shape[1], 1)
    kept = torch.ones(shape, device=tokens.device)
    if alpha is not None:
        kept = kept * alpha[:, None, -1:, None]
    if len(cache.layers) == place:
        cache.layers.append(DynamicLayer())
    cache.update(kept, kept, place)


def _kept_alpha(cache: Any, place: int) -> torch.Tensor | None:
    """α of each row's prompt, `(batch, 1)`; `None` when it is 1 for all."""
    if len(getattr(cache, "layers", ())) <= place:
        return None
    alpha: torch.Tensor = cache.layers[place].keys[:, 0, -1:, 0]
    return alpha if bool((alpha > 1).any()) else None


def _positions(
    tokens: torch.Tensor, mask: torch.Tensor | None, position_ids: torch.Tensor | None, seen: int
) -> torch.Tensor:
    """Positions that start at each row's first real token, `(batch, new tokens)`."""
    new = tokens.shape[1]
    if mask is not None and mask.dim() == 2:
        return (mask.long().cumsum(1) - 1).clamp(min=0)[:, -new:]
    if position_ids is not None:
        return position_ids
    return torch.arange(seen, seen + new, device=tokens.device)[None].expand(tokens.shape[0], -1)


class QWenLMHeadModel(Qwen2ForCausalLM):
    """Qwen2 with the first Qwen's blocks."""

    config_class = QWenConfig
    _keys_to_ignore_on_load_unexpected = [r"inv_freq$", r"\.attn\.(masked_)?bias$"]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = QWenModel(config)
        self.post_init()

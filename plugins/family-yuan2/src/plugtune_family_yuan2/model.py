"""LLaMA with Yuan2's localized filter before queries and keys, its order of the MLP, and its document masks.

The filter mixes each token with the one or two before it. Where a row starts (a sequence laid behind another, the
first token behind left padding) there is nothing before, so rows never leak into each other. While generating, the
last input and the last half-way state of each layer are kept beside the cache.
"""

from __future__ import annotations

from typing import Any

import torch
from plugtune.modeling.attend import attend, cache_of, heads
from torch import nn
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaMLP,
    LlamaModel,
    LlamaRMSNorm,
    apply_rotary_pos_emb,
)

from plugtune_family_yuan2.config import YuanConfig

FILTER_EPSILON = 1e-6
"""The filter's norm has this one, whatever the config says."""

LOW = -3e4
"""Added to scores that shall not count; fits every dtype."""

State = tuple[torch.Tensor, torch.Tensor]
"""Last input `(batch, 1, hidden)` and last half-way state `(batch, 1, hidden / 2)` of a filter."""


class LocalizedFilter(nn.Module):
    """`norm(h + conv2(conv1(h)))`, two causal convolutions over two tokens each."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(size, size // 2, (2, 1))
        self.conv2 = nn.Conv2d(size // 2, size, (2, 1))
        self.output_layernorm = LlamaRMSNorm(size, eps=FILTER_EPSILON)

    def forward(self, states: torch.Tensor, starts: torch.Tensor, before: State | None) -> tuple[torch.Tensor, State]:
        """Filtered states and the state to keep.

        Args:
            states: `(batch, tokens, hidden)`.
            starts: `(batch, tokens)`, true where nothing stands before a token.
            before: state of the tokens before these.
        """
        half = _convolved(self.conv1, states, starts, before[0] if before else None)
        whole = _convolved(self.conv2, half, starts, before[1] if before else None)
        return self.output_layernorm(states + whole), (states[:, -1:], half[:, -1:])


def _convolved(conv: nn.Conv2d, states: torch.Tensor, starts: torch.Tensor, last: torch.Tensor | None) -> torch.Tensor:
    """A convolution over (token before, token) as two matrix products."""
    weight = conv.weight
    first = torch.zeros_like(states[:, :1]) if last is None else last
    previous = torch.cat([first, states[:, :-1]], dim=1).masked_fill(starts[..., None], 0)
    mixed = nn.functional.linear(previous, weight[:, :, 0, 0]) + nn.functional.linear(states, weight[:, :, 1, 0])
    return mixed if conv.bias is None else mixed + conv.bias


class YuanAttention(LlamaAttention):
    """Queries and keys from filtered states, values from the plain ones."""

    def __init__(self, config: YuanConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.lf_gate = LocalizedFilter(config.hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None,
        filter_starts: torch.Tensor,
        filter_states: dict[int, State],
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`(batch, tokens, hidden)` in and out; reads and writes its own entry of `filter_states`."""
        filtered, filter_states[self.layer_idx] = self.lf_gate(
            hidden_states, filter_starts, filter_states.get(self.layer_idx)
        )
        # The original views [queries; keys] as heads of twice the size: each head's chunk is its query, then its key.
        both = torch.cat([self.q_proj(filtered), self.k_proj(filtered)], dim=-1)
        query, key = both.view(*both.shape[:2], -1, 2 * self.head_dim).transpose(1, 2).chunk(2, dim=-1)
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        return attend(self, query, key, heads(self, self.v_proj(hidden_states)), attention_mask, **kwargs)


class YuanMLP(LlamaMLP):
    """The activation is on the up projection."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(…, hidden)` in and out."""
        return self.down_proj(self.gate_proj(x) * self.act_fn(self.up_proj(x)))


class YuanModel(LlamaModel):
    """LLaMA's blocks; finds out where rows and documents start."""

    def __init__(self, config: YuanConfig) -> None:
        super().__init__(config)
        for index, layer in enumerate(self.layers):
            layer.self_attn, layer.mlp = YuanAttention(config, index), YuanMLP(config)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """As LLaMA's."""
        tokens = input_ids if input_ids is not None else inputs_embeds
        assert tokens is not None
        cache = cache_of(kwargs)
        seen = cache.get_seq_length() if cache is not None else 0
        states: dict[int, State] = cache.yuan_states if seen else {}
        starts = _starts(tokens, attention_mask, kwargs.get("cu_seq_lens_q"), seen)
        ends = self._ends(input_ids, cache if seen else None)
        if ends is not None and bool(ends[:, :-1].any()):
            attention_mask = _document_mask(ends, attention_mask, kwargs.get("cu_seq_lens_q"), tokens.shape[1])
            attention_mask = attention_mask.to(self.embed_tokens.weight.dtype)
        output = super().forward(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds,
            filter_starts=starts, filter_states=states, **kwargs,
        )  # fmt: skip
        made = cache if cache is not None else cache_of(dict(output) if hasattr(output, "keys") else {})
        if made is not None:
            made.yuan_states, made.yuan_ends = states, ends
        return output

    def _ends(self, input_ids: torch.Tensor | None, cache: Any) -> torch.Tensor | None:
        """Which tokens so far end a document, `(batch, all tokens)`; `None` when it does not matter."""
        config = self.config
        cuts = config.reset_attention_mask and (self.training or config.reset_position_ids)
        if not cuts or config.eod_token is None or input_ids is None:
            return None
        ends = input_ids == config.eod_token
        return ends if cache is None else torch.cat([cache.yuan_ends, ends], dim=1)


def _starts(tokens: torch.Tensor, mask: torch.Tensor | None, bounds: torch.Tensor | None, seen: int) -> torch.Tensor:
    """`(batch, tokens)`: whether nothing stands before a token."""
    starts = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    if not seen:
        starts[:, 0] = True
    if bounds is not None:
        starts[:, bounds[:-1].long()] = True
    elif mask is not None and mask.dim() == 2:
        real = mask.bool()
        before = torch.cat([torch.zeros_like(real[:, :1]), real[:, :-1]], dim=1)
        starts |= (~before)[:, -tokens.shape[1] :]
    return starts


def _document_mask(
    ends: torch.Tensor, mask: torch.Tensor | None, bounds: torch.Tensor | None, new: int
) -> torch.Tensor:
    """`(batch, 1, new, all tokens)`: 0 where a token sees another, a very low number where it does not."""
    total = ends.shape[1]
    document = ends.long().cumsum(1) - ends.long()
    index = torch.arange(total, device=ends.device)
    sees = (index[None, :] <= index[:, None])[None] & (document[:, None, :] == document[:, :, None])
    if bounds is not None:
        row = torch.bucketize(index, bounds[1:-1].long(), right=True)
        sees = sees & (row[None, :] == row[:, None])
    elif mask is not None and mask.dim() == 2:
        sees = sees & mask.bool()[:, None, :]
    return torch.where(sees[:, None, -new:], 0.0, LOW)


class YuanForCausalLM(LlamaForCausalLM):
    """LLaMA with Yuan2's blocks."""

    config_class = YuanConfig
    _keys_to_ignore_on_load_unexpected = [r"inv_freq$"]
    _can_compile_fullgraph = False
    _is_stateful = True  # the filters' states cannot be cropped, padded or joined

    def __init__(self, config: YuanConfig) -> None:
        super().__init__(config)
        self.model = YuanModel(config)
        self.post_init()

    def _reorder_cache(self, cache: Any, rows: torch.Tensor) -> Any:
        """Beam search: the filters' states follow the rows that the cache keeps."""
        cache.reorder_cache(rows)
        cache.yuan_states = {
            layer: (last.index_select(0, rows), half.index_select(0, rows))
            for layer, (last, half) in cache.yuan_states.items()
        }
        if cache.yuan_ends is not None:
            cache.yuan_ends = cache.yuan_ends.index_select(0, rows)
        return cache

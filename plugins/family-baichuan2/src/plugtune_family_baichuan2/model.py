"""The two modules in which Baichuan differs from LLaMA: attention with linear biases, and the normalised head."""

from __future__ import annotations

import math
from typing import Any

import torch
from plugtune.modeling.attend import attend, heads
from torch import nn
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention

from plugtune_family_baichuan2.config import BaichuanConfig


def slopes(count: int) -> list[float]:
    """Slopes of ALiBi for `count` heads: powers of 2^(-8/n), every other of 2n's for what n = 2^k leaves over."""
    power = 2 ** math.floor(math.log2(count))
    first = [2.0 ** (-8.0 * (i + 1) / power) for i in range(power)]
    rest = [2.0 ** (-4.0 * (i + 1) / power) for i in range(0, 2 * (count - power), 2)]
    return first + rest


class AlibiAttention(LlamaAttention):
    """LLaMA's attention with `slope · (key − query)` added to the scores instead of a rotation."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: Any = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`(batch, tokens, hidden)` in and out."""
        query, key, value = (heads(self, layer(hidden_states)) for layer in (self.q_proj, self.k_proj, self.v_proj))
        in_rows = kwargs.get("cu_seq_lens_q") is not None or kwargs.get("shared_prompts") is not None
        if attention_mask is not None or not in_rows:
            attention_mask = self._biased(attention_mask, query, kwargs)
        return attend(self, query, key, value, attention_mask, **kwargs)

    def _biased(self, mask: torch.Tensor | None, query: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
        from plugtune.modeling.attend import cache_of

        cache, tokens = cache_of(kwargs), query.shape[2]
        keys = tokens + (cache.get_seq_length(self.layer_idx) if cache is not None else 0)
        bias = self.position_bias(tokens, keys, query.device, query.dtype)
        if mask is None:
            return bias
        if mask.dtype == torch.bool:
            return bias.expand(mask.shape[0], -1, -1, -1).masked_fill(~mask, torch.finfo(query.dtype).min)
        return bias + mask

    def position_bias(self, queries: int, keys: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """`(1, heads, queries, keys)`: the biases of the last `queries` of `keys` tokens, with the causal mask."""
        slope = torch.tensor(slopes(self.config.num_attention_heads), device=device)[:, None, None]
        index = torch.arange(keys, device=device)
        distance = index[None, :] - index[keys - queries :, None]
        bias = (slope * distance).masked_fill(distance > 0, torch.finfo(dtype).min)
        return bias.to(dtype)[None]


class NormHead(nn.Linear):
    """An output head whose rows have length one; the gradient goes through the normalisation."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """`(…, hidden)` → `(…, vocabulary)`."""
        return nn.functional.linear(hidden_states, nn.functional.normalize(self.weight))


class BaichuanForCausalLM(LlamaForCausalLM):
    """LLaMA with what `BaichuanConfig` asks for."""

    config_class = BaichuanConfig
    _keys_to_ignore_on_load_unexpected = [r"inv_freq$"]
    _can_compile_fullgraph = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.alibi:
            for index, layer in enumerate(self.model.layers):
                layer.self_attn = AlibiAttention(config, index)
        if config.norm_head:
            self.lm_head = NormHead(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @property
    def _supports_flash_attn(self) -> bool:  # type: ignore[override]
        return not self.config.alibi  # its kernels take no biases

"""Rows that are computed together: their keys and values, padded on the left, and a mask. Knows only token ids.

Rows join (their prompts are computed first, on their own) and leave at any step. Where a model's state cannot be padded
and joined (recurrent layers, caches of its own), each row has a lane of its own, which gives the same tokens more
slowly.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from plugtune.inference.batch import Row


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model's forward takes, asked once.

    Attributes:
        joins: whether keys and values of several rows may be put together.
        cache: the argument that takes the cache (`cache`; `past_key_values` before transformers 5.24), empty for none.
        positions: whether it takes `position_ids`.
        last_only: whether it can leave out the logits of all positions but the last.
    """

    joins: bool
    cache: str
    positions: bool
    last_only: bool


def abilities(model: Any) -> Abilities:
    """Ask a model's signature and config."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = set(inspect.signature(base.forward).parameters)
    config = base.config.get_text_config(decoder=True) if hasattr(base.config, "get_text_config") else base.config
    kinds = set(getattr(config, "layer_types", None) or ("full_attention",))
    cache = next((name for name in ("cache", "past_key_values") if name in names), "")
    plain = kinds <= {"full_attention", "sliding_attention"} and not getattr(base, "_is_stateful", False)
    takes_mask = "attention_mask" in names
    return Abilities(bool(plain and cache and takes_mask), cache, "position_ids" in names, "logits_to_keep" in names)


class Lane:
    """Rows in step with each other. The mask is `(rows, length)` int64: 1 where a real token's keys are cached."""

    def __init__(self, model: Any, able: Abilities, pad: int, rows: Sequence[Row]) -> None:
        self.model, self.able, self.pad = model, able, pad
        self.rows = list(rows)
        self.cache: Any = None
        self.mask = torch.empty(0)

    @property
    def length(self) -> int:
        """Cached positions, padding included."""
        return int(self.mask.shape[1]) if self.mask.dim() == 2 else 0

    def begin(self) -> torch.Tensor:
        """Compute the prompts; logits of the next token, `(rows, vocabulary)`."""
        from transformers import DynamicCache

        prompts = [row.prompt for row in self.rows]
        longest = max(map(len, prompts))
        device = self.model.device
        ids = torch.tensor([[self.pad] * (longest - len(p)) + p for p in prompts], device=device)
        self.mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
        # Without a config every layer keeps all its keys, so that rows can be padded; masks still hold the windows.
        self.cache = DynamicCache() if self.able.joins else None
        return self._forward(ids)

    def go_on(self) -> torch.Tensor:
        """Compute each row's newest token; logits of the next one."""
        ids = torch.tensor([[row.ids[-1]] for row in self.rows], device=self.model.device)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.rows), 1)], dim=1)
        if not self.able.joins and self.cache is None:  # no state came back: the whole row again
            ids = torch.tensor([[*self.rows[0].prompt, *self.rows[0].ids]], device=self.model.device)
        return self._forward(ids)

    def _forward(self, ids: torch.Tensor) -> torch.Tensor:
        inputs: dict[str, Any] = {"input_ids": ids, "use_cache": True}
        if self.able.joins:
            inputs["attention_mask"] = self.mask
            if self.able.positions:
                inputs["position_ids"] = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        if self.cache is not None and self.able.cache:
            inputs[self.able.cache] = self.cache
        if self.able.last_only:
            inputs["logits_to_keep"] = 1
        with torch.no_grad():
            output = self.model(**inputs)
        if not self.able.joins and self.able.cache:
            self.cache = output.get(self.able.cache)
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def keep(self, places: Sequence[int]) -> None:
        """Keep the rows at these places; columns that are padding in all of them go too."""
        if len(places) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in places]
        if not self.rows or not self.able.joins:
            self.cache = self.cache if self.rows else None
            return
        index = torch.tensor(places, device=self.mask.device)
        self.mask = self.mask.index_select(0, index)
        spare = int(self.mask.any(0).int().argmax())
        self.mask = self.mask[:, spare:]
        for layer in self._layers():
            layer.keys = layer.keys.index_select(0, index)[:, :, spare:].contiguous()
            layer.values = layer.values.index_select(0, index)[:, :, spare:].contiguous()

    def join(self, other: Lane) -> None:
        """Take over the rows of another lane of the same model."""
        longest = max(self.length, other.length)
        self._pad_to(longest)
        other._pad_to(longest)
        self.rows += other.rows
        self.mask = torch.cat([self.mask, other.mask])
        for mine, theirs in zip(self._layers(), other._layers(), strict=True):
            mine.keys = torch.cat([mine.keys, theirs.keys])
            mine.values = torch.cat([mine.values, theirs.values])

    def _pad_to(self, length: int) -> None:
        missing = length - self.length
        if not missing:
            return
        pad = torch.nn.functional.pad
        self.mask = pad(self.mask, (missing, 0))
        for layer in self._layers():
            layer.keys = pad(layer.keys, (0, 0, missing, 0))
            layer.values = pad(layer.values, (0, 0, missing, 0))

    def _layers(self) -> list[Any]:
        # Layers that share the keys of another one have none of their own.
        return [layer for layer in self.cache.layers if layer.is_initialized]

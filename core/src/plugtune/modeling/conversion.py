"""A layout as weight transforms of transformers, which run while shards are read and backwards when they are saved."""

from __future__ import annotations

import re
from typing import Any

import torch
from transformers.core_model_loading import ConversionOps, WeightConverter, WeightRenaming

from plugtune.modeling.layout import Fused, Layout


class SplitFused(ConversionOps):
    """One original tensor → several native ones."""

    def __init__(self, fused: Fused) -> None:
        self.fused = fused

    @torch.no_grad()
    def convert(
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **kwargs: Any
    ) -> dict[str, Any]:
        """`{native pattern: tensor}`."""
        (value,) = input_dict.values()
        tensor = value[0] if isinstance(value, list) else value
        return dict(zip(target_patterns, self.fused.split(tensor, kwargs["config"]), strict=True))

    @property
    def reverse_op(self) -> ConversionOps:
        """The way back."""
        return JoinFused(self.fused)


class JoinFused(ConversionOps):
    """Several native tensors → the original one."""

    def __init__(self, fused: Fused) -> None:
        self.fused = fused

    @torch.no_grad()
    def convert(
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **kwargs: Any
    ) -> dict[str, Any]:
        """`{original pattern: tensor}`; the pieces may come in any order."""
        values = [input_dict[pattern] for pattern in source_patterns]
        tensors = [value[0] if isinstance(value, list) else value for value in values]
        return {target_patterns[0]: self.fused.join(tensors, kwargs["config"])}

    @property
    def reverse_op(self) -> ConversionOps:
        """The way there."""
        return SplitFused(self.fused)


def transforms_of(layout: Layout) -> list[Any]:
    """Renames first, then fused modules, then the layout's own."""
    renames = [WeightRenaming(_pattern(old), _pattern(new)) for old, new in layout.renames]
    fused = [
        WeightConverter(
            [_pattern(item.original)], [_pattern(part) for part in item.native], operations=[SplitFused(item)]
        )
        for item in layout.fused
    ]
    return [*renames, *fused, *layout.conversions()]


def _pattern(part: str) -> str:
    anchored = part.startswith("^")
    return ("^" if anchored else "") + re.escape(part.removeprefix("^")).replace(r"\_", "_")

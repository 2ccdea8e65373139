"""Means of numbers that a stage logs besides the loss, over all processes and since the last log."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch


class Means:
    """Means of named values since the last time they were taken, over all processes."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(2, dtype=torch.float64))

    def add(self, name: str, values: torch.Tensor) -> None:
        """Add values of any shape; none is fine too. Nothing waits for the device."""
        values = values.detach()
        pair = torch.stack([values.sum(), torch.tensor(float(values.numel()), device=values.device)])
        self._sums[name] = self._sums[name].to(pair.device) + pair

    def take(self, accelerator: Any) -> dict[str, float]:
        """The means in order of name, forgotten here. All processes must have added the same names."""
        means = {}
        for name in sorted(self._sums):
            pair = self._sums[name].float().to(accelerator.device)
            total, count = accelerator.reduce(pair, "sum").tolist()
            if count:
                means[name] = total / count
        self._sums.clear()
        return means


def mean_of_all(values: torch.Tensor, kept: torch.Tensor, accelerator: Any) -> torch.Tensor:
    """The mean of the kept values of all processes, a scalar without gradient; 0 when there are none.

    Args:
        values: `(N,)`, N the same in every process.
        kept: `(N,)` bool.
        accelerator: of the trainer.
    """
    values = torch.where(kept, values.detach(), 0.0)
    total: torch.Tensor = accelerator.reduce(torch.stack([values.sum(), kept.sum().to(values.dtype)]), "sum")
    return total[0] / total[1].clamp(min=1)

"""Counts what a trainer trains on: real tokens and those with a label, over all processes."""

from __future__ import annotations

from typing import Any

import torch
from transformers import Trainer

IGNORE = -100
WATCHED = 100
"""Batches whose loss is kept for the watchdog."""


class CountsTokens(Trainer):
    """A `transformers.Trainer` that counts tokens.

    Attributes:
        tokens_seen: real tokens (no padding) that this process has trained on.
        tokens_total: the same over all processes, as of the last log line.
        trained_total: tokens with a label, over all processes, as of the last log line.
        first_steps: loss and trained tokens (`None` for batches without labels) of batches that `training.watch` has
            not looked at yet; filled in the first steps only.
    """

    tokens_seen: int = 0
    tokens_total: int = 0
    trained_total: int = 0
    _trained_here: Any = 0
    _steps_watched: int = 0
    first_steps: list[tuple[torch.Tensor, Any]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.first_steps = []
        super().__init__(*args, **kwargs)

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """The stock step, with its tokens counted (real ones here, unless `compute_loss` counts its own)."""
        trained, seen = self.count_trained(inputs), self.tokens_seen
        self._trained_here = self._trained_here + (trained if trained is not None else 0)
        loss: torch.Tensor = super().training_step(model, inputs, *args, **kwargs)
        if self.tokens_seen == seen and "input_ids" in inputs:
            self.tokens_seen += real_tokens(inputs)
        if self._steps_watched < WATCHED:
            self._steps_watched += 1
            self.first_steps.append((loss.detach(), trained))
        return loss

    def count_trained(self, inputs: dict[str, Any]) -> Any:
        """Trained tokens of a batch of this stage; `None` where that has no meaning."""
        return trained_tokens(inputs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """The stock log, with the counts of all processes brought together first."""
        self.gather_counts()
        super().log(logs, *args, **kwargs)

    def gather_counts(self) -> None:
        """Bring the totals up to date; every process must call it."""
        counts = torch.tensor([self.tokens_seen, int(self._trained_here)], device=self.args.device)
        if self.args.world_size > 1:
            counts = self.accelerator.reduce(counts, reduction="sum")
        self.tokens_total, self.trained_total = (int(count) for count in counts)


def trained_tokens(inputs: dict[str, Any]) -> Any:
    """Targets of a batch that are not masked: of `shift_labels` as they are, else of `labels` after the first column.

    Batches that name several kinds of labels (`chosen_labels` …) count all of them; batches without any give `None`.
    """
    if "shift_labels" in inputs:
        return (inputs["shift_labels"] != IGNORE).sum()
    found = [value for key, value in inputs.items() if key.endswith("labels") and torch.is_tensor(value)]
    counted = [(value[..., 1:] != IGNORE).sum() for value in found if value.dim() > 1]
    return sum(counted) if counted else None


def real_tokens(inputs: dict[str, Any]) -> int:
    """Tokens of a batch without its padding."""
    mask = inputs.get("attention_mask")
    return int(mask.sum()) if mask is not None else int(inputs["input_ids"].numel())

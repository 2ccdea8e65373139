"""Scores made comparable over a run: normalised by their running mean and deviation, and clipped.

With `ppo_score_norm`, as LLaMA-Factory does through trl: s ← (s - mean) / (deviation + 1e-8) over all scores seen so
far, this buffer's included. Mean and variance are merged by Chan et al. 1979 (updating formulas for sample variances).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class RunningScores:
    """Mean and sum of squared deviations of `count` scores."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def update(self, scores: torch.Tensor) -> None:
        """Take in a buffer's scores `(rows,)`."""
        new = scores.double()
        number, mean = len(new), float(new.mean())
        squares = float((new - mean).square().sum())
        total = self.count + number
        gap = mean - self.mean
        self.squares += squares + gap * gap * self.count * number / total
        self.mean += gap * number / total
        self.count = total

    @property
    def deviation(self) -> float:
        """Unbiased standard deviation; 1 while there is a single score."""
        return float((self.squares / (self.count - 1)) ** 0.5) if self.count > 1 else 1.0

    def normalise(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores in units of the deviation around the mean."""
        return (scores - self.mean) / (self.deviation + 1e-8)


def clipped(scores: torch.Tensor, bound: float | None) -> torch.Tensor:
    """Scores within -bound … bound."""
    return scores if bound is None else scores.clamp(-bound, bound)

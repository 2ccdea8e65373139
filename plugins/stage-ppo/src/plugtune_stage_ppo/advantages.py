"""How much better each token was than expected.

Generalised advantage estimation (Schulman et al. 2015, arXiv:1506.02438, equations 11 and 16): with
delta_t = r_t + gamma · V_{t+1} - V_t and V = 0 behind the last token, A_t = delta_t + gamma · lambda · A_{t+1}; the
value that the critic learns is A_t + V_t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch


def advantages_of(
    rewards: torch.Tensor, values: torch.Tensor, *, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns of one answer.

    Args:
        rewards: `(T,)` reward of each token.
        values: `(T,)` value of the state in which each token was chosen.
        gamma: discount.
        lam: lambda.

    Returns:
        `(T,)` advantages, `(T,)` returns.
    """
    advantages = torch.zeros_like(rewards)
    later_value = later = 0.0
    for t in range(len(rewards) - 1, -1, -1):
        delta = float(rewards[t]) + gamma * later_value - float(values[t])
        later = delta + gamma * lam * later
        advantages[t] = later
        later_value = float(values[t])
    return advantages, advantages + values


def whiten(
    rows: Sequence[torch.Tensor],
    *,
    keep_mean: bool = False,
    total: Callable[[torch.Tensor], torch.Tensor] = lambda x: x,
) -> list[torch.Tensor]:
    """All values of a buffer scaled to unit variance (and mean 0 unless it is kept).

    Args:
        rows: `(T,)` each.
        keep_mean: whether the mean stays.
        total: the sum of a tensor over all processes, which whiten together.
    """
    joined = torch.cat(list(rows)).double()
    count, value = total(torch.stack([torch.tensor(float(len(joined))).double(), joined.sum()])).tolist()
    mean = value / count
    deviation = (float(total((joined - mean).square().sum())) / count + 1e-8) ** 0.5
    white = ((joined - mean) / deviation + (mean if keep_mean else 0.0)).float()
    return list(white.split([len(row) for row in rows]))

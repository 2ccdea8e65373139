"""What PPO minimises.

Policy (Schulman et al. 2017, arXiv:1707.06347, equation 7): -min(ratio · A, clip(ratio, 1 - eps, 1 + eps) · A) with
ratio = pi(y_t) / pi_old(y_t). Value: half the larger of (V - R)² and (clip(V, V_old - eps, V_old + eps) - R)², as in
the authors' code (openai/baselines, ppo2). Both are given for each token; the trainer divides their sum by the tokens
of the whole step.
"""

from __future__ import annotations

import torch


def policy_losses(
    logprobs: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, clip: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`(K,)` losses, and `(K,)` whether the clipped term decided."""
    ratio = torch.exp(logprobs - old)
    plain = -advantages * ratio
    bounded = -advantages * ratio.clamp(1 - clip, 1 + clip)
    return torch.maximum(plain, bounded), (bounded > plain).float()


def value_losses(values: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, clip: float) -> torch.Tensor:
    """`(K,)` losses."""
    bounded = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns).square(), (bounded - returns).square())


def approximate_kl(logprobs: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """`(K,)` estimates of KL(old, new): (ratio - 1) - log ratio, unbiased and never negative
    (J. Schulman, "Approximating KL divergence", 2020)."""
    difference = logprobs - old
    return torch.expm1(difference) - difference

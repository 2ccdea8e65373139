"""What GRPO minimises for each answer token, and how the tokens of a step are averaged.

arXiv:2402.03300, equations 3 and 4: -min(ratio · A, clip(ratio, 1 - eps, 1 + eps_high) · A) + beta · KL, KL being
estimated by exp(log rho - log pi) - (log rho - log pi) - 1. The averages are those of the paper (`grpo`), of DAPO
(arXiv:2503.14476: over all tokens of the step) and of Dr. GRPO (arXiv:2503.20783: by a constant).
"""

from __future__ import annotations

import torch


def token_losses(
    logprobs: torch.Tensor, old: torch.Tensor, advantages: torch.Tensor, low: float, high: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`(K,)` losses without the KL term, and `(K,)` whether the clipped term decided."""
    ratio = torch.exp(logprobs - old)
    plain = -ratio * advantages
    bounded = -ratio.clamp(1 - low, 1 + high) * advantages
    return torch.maximum(plain, bounded), (bounded > plain).float()


def reference_kl(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """`(K,)` estimates of KL(policy, reference); never negative."""
    difference = reference - logprobs
    return torch.expm1(difference) - difference


def answer_weights(lengths: torch.Tensor, rows: int) -> torch.Tensor:
    """Weight `(K,)` of each token where answers count alike: 1 / (tokens of its answer · answers of the step)."""
    return (1.0 / (lengths * rows)).repeat_interleave(lengths)

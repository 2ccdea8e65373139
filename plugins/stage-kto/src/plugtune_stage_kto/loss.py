"""The KTO loss (arXiv:2402.01306, section 4). A pure function of log-probabilities; no model here."""

from __future__ import annotations

import torch


def kto(
    ratio: torch.Tensor, desirable: torch.Tensor, kl: torch.Tensor, *, beta: float, good: float = 1.0, bad: float = 1.0
) -> torch.Tensor:
    """λ_D (1 − σ(β(r − z))) for a desirable answer and λ_U (1 − σ(β(z − r))) for an undesirable one.

    Args:
        ratio: r = log π(y|x) − log ρ(y|x), `(B,)`.
        desirable: the judgements, `(B,)` bool.
        kl: z, the estimate of KL(π‖ρ) that the rewards are measured from; a scalar, no gradient flows through it.
        beta, good, bad: β, λ_D and λ_U.

    Returns:
        The loss of each row, `(B,)`.
    """
    sign = torch.where(desirable, 1.0, -1.0)
    weight = torch.where(desirable, good, bad)
    return weight * (1 - torch.sigmoid(beta * sign * (ratio - kl)))


def kl_estimate(mismatched_ratio: torch.Tensor) -> torch.Tensor:
    """z = max(0, mean of log π(y'|x) − log ρ(y'|x)) over prompts x with answers y' to other prompts; a scalar."""
    return mismatched_ratio.mean().clamp(min=0).detach()

"""Log-probabilities and entropies of answer tokens from logits, in fp32."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy


def token_logprobs(logits: torch.Tensor, targets: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """log softmax(logits / temperature) at the targets.

    Args:
        logits: `(K, vocabulary)`.
        targets: `(K,)` token ids.
        temperature: the one that answers are sampled with, so that this is the policy that acts.

    Returns:
        `(K,)` fp32.
    """
    return -cross_entropy(logits.float() / temperature, targets, reduction="none")


@torch.no_grad()
def token_entropies(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Entropy in nats of each token's distribution, `(K,)` fp32."""
    logs = torch.log_softmax(logits.float() / temperature, dim=-1)
    return -(logs.exp() * logs).sum(-1)

"""Dynamic fine-tuning (arXiv:2508.05629): each token's loss is weighed by the probability that it has.

L_t = −sg(p_t) log p_t with sg for "no gradient": the gradient of a token that the model finds unlikely is no longer
divided by its probability. Evaluation stays plain cross-entropy, so that perplexities compare.
"""

from __future__ import annotations

import torch
from plugtune.training.trainer import PlugtuneTrainer
from torch.nn.functional import cross_entropy


def dft_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """`(K, vocabulary)` logits and `(K,)` labels give `(K,)` losses."""
    losses = cross_entropy(logits, labels, reduction="none")
    return losses * torch.exp(-losses.detach())


class DftTrainer(PlugtuneTrainer):
    """Next-token prediction with DFT's weights in training."""

    def token_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """DFT while training, cross-entropy while evaluating."""
        if self.context.model.training:
            return dft_losses(logits, labels)
        return cross_entropy(logits, labels, reduction="none")

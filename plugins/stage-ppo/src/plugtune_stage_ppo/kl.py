"""The KL penalty: how much each token costs, and what that cost weighs.

Ziegler et al. 2019 (arXiv:1909.08593), section 2. The reward of a whole answer is
R(x, y) = r(x, y) - beta · log(pi(y|x) / rho(y|x)); over tokens, token t costs beta · (log pi(y_t) - log rho(y_t)) and
the score r comes with the last one. beta is steered so that the KL of an answer nears a target:
e = clip((KL - target) / target, -0.2, 0.2), beta ← beta · (1 + e · n / horizon) after n answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


def token_rewards(
    logprobs: torch.Tensor, reference: torch.Tensor, score: float, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards of the tokens of one answer, and its KL estimate.

    Args:
        logprobs: `(T,)` log-probabilities under the policy that sampled it.
        reference: `(T,)` under the reference.
        score: of the whole answer.
        beta: weight of the penalty.

    Returns:
        `(T,)` rewards; the sum of log-ratios, a single-sample estimate of KL(policy, reference) in nats.
    """
    ratio = logprobs - reference
    rewards = -beta * ratio
    rewards[-1] += score
    return rewards, ratio.sum()


@dataclass
class KlController:
    """The weight of the penalty.

    Attributes:
        beta: now.
        target: KL of an answer in nats that is steered to.
        horizon: answers over which an error of the full 0.2 would change beta by 20 %.
        adaptive: whether it changes at all.
    """

    beta: float
    target: float
    horizon: int
    adaptive: bool = True

    def update(self, kl: float, answers: int) -> None:
        """Take in the mean KL of so many answers."""
        if not self.adaptive:
            return
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        self.beta *= 1 + error * answers / self.horizon


def penalised(
    logprobs: Sequence[torch.Tensor], reference: Sequence[torch.Tensor], scores: torch.Tensor, beta: float
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """`token_rewards` of several answers: rewards of each, and `(rows,)` KL estimates."""
    parts = [token_rewards(*row, beta) for row in zip(logprobs, reference, scores.tolist(), strict=True)]
    return [rewards for rewards, _ in parts], torch.stack([kl for _, kl in parts])

"""How much better each answer of a group is than its fellows.

Shao et al. 2024 (arXiv:2402.03300, section 4.1.2): A_i = (r_i - mean(r)) / std(r) over the answers to one prompt, the
same for each token of answer i. Without the division, as in arXiv:2503.20783, hard and easy prompts weigh the same.
"""

from __future__ import annotations

import torch

EPSILON = 1e-4


def group_advantages(rewards: torch.Tensor, size: int, *, scale: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages of answers that stand group by group.

    Args:
        rewards: `(groups · size,)`.
        size: answers to each prompt.
        scale: whether to divide by the group's (unbiased) deviation.

    Returns:
        `(groups · size,)` advantages; `(groups,)` deviations.
    """
    groups = rewards.view(-1, size)
    deviations = groups.std(dim=1)
    advantages = groups - groups.mean(dim=1, keepdim=True)
    if scale:
        advantages = advantages / (deviations[:, None] + EPSILON)
    return advantages.reshape(-1), deviations

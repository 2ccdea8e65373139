"""Muon (K. Jordan, https://kellerjordan.github.io/posts/muon) for matrices, AdamW for the rest, as one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from plugtune_optim_extra.groups import decayed, split


class Together(torch.optim.Optimizer):
    """Several optimizers over disjoint parameters, stepped, scheduled, saved and restored as one."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = list(parts)
        super().__init__([group for part in self.parts for group in part.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of each."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of all parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore all parts; the groups a scheduler sees are theirs again."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def muon(model: Any, arguments: Any, options: Any) -> Together:
    """Muon for the matrices of linear layers, with updates scaled to Adam's so that one rate fits both."""
    matrices, rest = split(model, ["all"], "use_muon")
    rate, decay = arguments.learning_rate, arguments.weight_decay
    parts: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    ]
    if rest:
        betas = (arguments.adam_beta1, arguments.adam_beta2)
        parts.append(torch.optim.AdamW(decayed(rest, decay), lr=rate, betas=betas, eps=arguments.adam_epsilon))
    return Together(parts)

"""Root-mean-square normalisation, w · x / √(mean(x²) + ε), as one differentiable step (arXiv:1910.07467).

Operation by operation, transformers keeps x and, where w is trained, the normalised x for the backward pass, and goes
over them a dozen times; here x is kept and the rest is computed again from it. The forward pass is the same to the bit.

The answer knows what it was made of, so that layers which want it in their backward pass need not keep it either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

Tensor = torch.Tensor

# How published modules name ε.
EPSILONS = ("variance_epsilon", "eps", "epsilon")


class _RmsNorm(torch.autograd.Function):
    """Arguments: input `(…, size)`, weight `(size,)`, ε."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        scale = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight, scale)
        ctx.mark_non_differentiable(scale)
        return normalised(x, weight, scale), scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, _: Any) -> Any:
        x, weight, scale = ctx.saved_tensors
        needs_x, needs_weight, _ = ctx.needs_input_grad
        dx = d_weight = None
        normal, dy = x.float() * scale, dy.float()
        if needs_weight:
            d_weight = (dy * normal).flatten(0, -2).sum(0).to(weight.dtype)
        if needs_x:
            dx = dy * weight
            mean = (dx * normal).mean(-1, keepdim=True)
            dx = dx.sub_(normal.mul_(mean)).mul_(scale).to(x.dtype)
        return dx, d_weight, None


def normalised(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """The answer to `x (…, size)`, given 1 / √(mean(x²) + ε) as `scale (…, 1)`."""
    return weight * (x.float() * scale).to(x.dtype)


@dataclass(frozen=True, slots=True)
class Origin:
    """What a normalised tensor was made of, outside the graph; `version` counts the writes to it since then."""

    x: Tensor
    weight: Tensor
    scale: Tensor
    version: int


ORIGIN = "plugtune_origin"
"""The attribute of a normalised tensor that holds it."""


def origin_of(y: Tensor) -> Origin | None:
    """What a tensor was made of, if it comes straight from a normalisation and nobody wrote to it."""
    origin: Origin | None = getattr(y, ORIGIN, None)
    return origin if origin is not None and origin.version == y._version else None


def epsilon_of(module: Any) -> float | None:
    """The ε of a module that has the shape of such a normalisation: one weight `(size,)`, no parts, an ε."""
    weight = module._parameters.get("weight")
    only = len(module._parameters) == 1 and not module._modules and not module._buffers
    if weight is None or weight.dim() != 1 or not only:
        return None
    found = (getattr(module, name, None) for name in EPSILONS)
    return next((value for value in found if isinstance(value, float)), None)


@dataclass(frozen=True, slots=True)
class LeanNorm:
    """Stands for the forward pass of a normalisation; falls back on its `own` where no gradient is asked for."""

    module: Any
    own: Callable[..., Tensor]
    epsilon: float

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As the module's own: `(…, size)` → `(…, size)`."""
        if args or kwargs or not torch.is_grad_enabled():
            return self.own(x, *args, **kwargs)
        return self.answer(x)

    def answer(self, x: Tensor) -> Tensor:
        """The lean form's answer."""
        weight = self.module.weight
        y, scale = _RmsNorm.apply(x, weight, self.epsilon)
        setattr(y, ORIGIN, Origin(x.detach(), weight.detach(), scale, y._version))
        answer: Tensor = y
        return answer

"""Rotary position embedding, x · cos + rotated(x) · sin, as one differentiable step (arXiv:2104.09864).

Operation by operation, a pass makes half a dozen tensors of the size of x; here each pass makes one and adds to it
where it stands. `rotated` turns the halves (x₁, x₂) into (−x₂, x₁), so the backward pass is a rotation the other way.

Attention modules of transformers call a function of their Python module, so that is what is replaced: for the whole
process, with the same answers, and only where gradients are asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch.autograd.function import once_differentiable

Tensor = torch.Tensor

NAME = "apply_rotary_pos_emb"


class _Rotary(torch.autograd.Function):
    """Arguments: `x (…, size)`, and cosines and sines that can be broadcast to it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.dtype = x.dtype
        (x1, x2), (sin1, sin2) = x.chunk(2, -1), sin.chunk(2, -1)
        y = x * cos
        y1, y2 = y.chunk(2, -1)
        y1.addcmul_(x2, sin1, value=-1)
        y2.addcmul_(x1, sin2)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        cos, sin = ctx.saved_tensors
        (dy1, dy2), (sin1, sin2) = dy.chunk(2, -1), sin.chunk(2, -1)
        dx = dy * cos
        dx1, dx2 = dx.chunk(2, -1)
        dx1.addcmul_(dy2, sin2)
        dx2.addcmul_(dy1, sin1, value=-1)
        return dx.to(ctx.dtype), None, None


@dataclass(frozen=True, slots=True)
class LeanRotary:
    """Stands for a module's function; falls back on its `own` where no gradient or something unusual is asked for."""

    own: Callable[..., Any]

    def __call__(self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *args: Any, **kwargs: Any) -> Any:
        """As the function's own: queries and keys `(batch, heads, T, size)`, cosines and sines `(batch, T, size)`."""
        whole = cos.shape[-1] == sin.shape[-1] == q.shape[-1] == k.shape[-1] and q.shape[-1] % 2 == 0
        whole = whole and cos.dim() == 3 and cos.shape[0] in (1, q.shape[0])
        if args or kwargs or not whole or cos.requires_grad or not torch.is_grad_enabled():
            return self.own(q, k, cos, sin, *args, **kwargs)
        return self.answer(q, k, cos, sin)

    @staticmethod
    def answer(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """The lean form's answer."""
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        return _Rotary.apply(q, cos, sin), _Rotary.apply(k, cos, sin)


def enable(model: Any) -> None:
    """Replace the function of every Python module that a model's parts come from, where it computes the same."""
    for name in {type(module).__module__ for module in model.modules()}:
        place = sys.modules.get(name)
        own = getattr(place, NAME, None)
        if isinstance(own, FunctionType) and _rotates(own):
            setattr(place, NAME, LeanRotary(own))


@torch.no_grad()
def _rotates(own: Callable[..., Any]) -> bool:
    """Whether a function and the lean form answer the same to random input."""
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(2, heads, 5, 8, generator=generator) for heads in (4, 2))
    cos, sin = (torch.randn(2, 5, 8, generator=generator) for _ in range(2))
    try:
        answers = own(q, k, cos, sin)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError):
        return False
    if not isinstance(answers, tuple) or len(answers) != 2 or not all(isinstance(a, Tensor) for a in answers):
        return False
    pairs = zip(answers, LeanRotary.answer(q, k, cos, sin), strict=True)
    return all(a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, atol=1e-6) for a, b in pairs)

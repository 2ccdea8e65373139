"""The forward pass of one adapted linear layer, kept lean."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from plugtune.training.lean import linear
from plugtune.training.lean.linear import Parts, Tensor


class _AdaptedLinear(torch.autograd.Function):
    """Arguments: the input `(T, in)` as the graph has it, the same in the dtype of computation, scale, four tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, computed: Tensor, scale: float, *tensors: Any) -> Tensor:
        layer = linear.in_dtype(Parts.of(tensors, scale), computed.dtype)
        y, h = linear.apply(computed, layer)
        needs_x = ctx.needs_input_grad[3] or ctx.needs_input_grad[5]
        ctx.save_for_backward(computed if needs_x else None, h, *layer.tensors)
        ctx.scale, ctx.dtypes = scale, (x.dtype, *(None if t is None else t.dtype for t in tensors))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, h, *tensors = ctx.saved_tensors
        layer = Parts.of(tensors, ctx.scale)
        wanted = ctx.needs_input_grad[0]  # not in the first block of a model whose embeddings stand still
        dx, dh = linear.input_gradient(dy, layer) if wanted else (None, linear.adapter_gradient(dy, layer))
        found = linear.weight_gradients(dy, x, h, dh, ctx.scale, ctx.needs_input_grad[3:])
        own, *others = ctx.dtypes
        return None if dx is None else dx.to(own), None, None, *in_their_dtype(found, others)


def in_their_dtype(gradients: tuple[Tensor | None, ...], dtypes: Any) -> list[Tensor | None]:
    """Each gradient in the dtype of what it belongs to."""
    return [None if g is None else g.to(dtype) for g, dtype in zip(gradients, dtypes, strict=True)]


def flat(x: Tensor) -> Tensor:
    """`(…, size)` → `(T, size)`. Shapes change outside the steps, so that callers may write to their answers."""
    return x.reshape(-1, x.shape[-1])


class CastOnce:
    """Casts of the latest input: query, key and value layers are given the same tensor and share one cast of it."""

    def __init__(self) -> None:
        self._latest: Callable[[], Tensor | None] = lambda: None
        self._cast: Tensor | None = None

    def __call__(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        if x.dtype == dtype:
            return x.detach()
        if self._latest() is not x or self._cast is None or self._cast.dtype != dtype:
            # Held until the next input comes: layers keep views of it, which do not keep the tensor itself alive.
            self._latest, self._cast = weakref.ref(x), x.detach().to(dtype)
        return self._cast


@dataclass(frozen=True, slots=True)
class LeanAdapted:
    """Stands for the forward pass of a LoRA layer; falls back on the layer's `own` where it is not plain.

    An object, not a closure, so that a deep copy of the model computes with the copy's weights.
    """

    layer: Any
    own: Callable[..., Tensor]
    cast: CastOnce

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As the layer's own: `(..., in)` → `(..., out)`."""
        parts = None if args or kwargs or not torch.is_grad_enabled() else linear.parts_of(self.layer)
        if parts is None or parts.a is None:
            return self.own(x, *args, **kwargs)
        dtype = linear.compute_dtype(x, parts)
        if dtype is None:
            return self.own(x)
        y: Tensor = _AdaptedLinear.apply(flat(x), flat(self.cast(x, dtype)), parts.scale, *parts.tensors)
        return y.view(*x.shape[:-1], -1)

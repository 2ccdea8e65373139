"""The forward pass of one linear layer, adapted or trained itself, kept lean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from plugtune.training import products
from plugtune.training.lean import linear, norm
from plugtune.training.lean.inputs import NOTHING, Input, Inputs, flat
from plugtune.training.lean.linear import Parts, Tensor


class _Linear(torch.autograd.Function):
    """Arguments: input `(T, in)` as the graph has it, the same as computed with, all inputs, scale, four tensors."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, given: Input, inputs: Inputs, scale: float, *tensors: Any) -> Tensor:
        layer = linear.in_dtype(Parts.of(tensors, scale), given.values.dtype)
        y, h = linear.apply(given.values, layer)
        needs_x = ctx.needs_input_grad[4] or ctx.needs_input_grad[6]
        ctx.save_for_backward(*(given.kept if needs_x else NOTHING), h, *layer.tensors)
        ctx.inputs, ctx.scale = inputs, scale
        ctx.dtypes = (x.dtype, *(None if t is None else t.dtype for t in tensors))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        *kept, h, weight, bias, a, b = ctx.saved_tensors
        layer = Parts(weight, bias, a, b, ctx.scale)
        wanted = ctx.needs_input_grad[0]  # not in the first block of a model whose embeddings stand still
        dx, dh = linear.input_gradient(dy, layer) if wanted else (None, linear.adapter_gradient(dy, layer))
        x = ctx.inputs.again(kept, weight.dtype)
        found = linear.weight_gradients(dy, x, h, dh, ctx.scale, ctx.needs_input_grad[4:])
        own, *others = ctx.dtypes
        return None if dx is None else dx.to(own), None, None, None, *linear.in_their_dtype(found, others)


@dataclass(frozen=True, slots=True)
class LeanLinear:
    """Stands for the forward pass of a linear layer, LoRA or plain; falls back on its `own` where that is as good.

    An object, not a closure, so that a deep copy of the model computes with the copy's weights.
    """

    layer: Any
    own: Callable[..., Tensor]
    inputs: Inputs

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As the layer's own: `(..., in)` → `(..., out)`."""
        parts = None if args or kwargs else linear.parts_of(self.layer)
        if parts is None:
            return self.own(x, *args, **kwargs)
        dtype = linear.compute_dtype(x, parts)
        if dtype is None or not (parts.a is not None or self._gains(x, parts, dtype)):
            return self.own(x)
        if not torch.is_grad_enabled():
            y = linear.apply(flat(x).to(dtype), linear.in_dtype(parts, dtype))[0]
        else:
            y = _Linear.apply(flat(x), self.inputs.of(x, dtype), self.inputs, parts.scale, *parts.tensors)
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    def _gains(x: Tensor, parts: Parts, dtype: torch.dtype) -> bool:
        """Whether there is something to gain without an adapter: an input to be made again, or a faster product."""
        again = torch.is_grad_enabled() and parts.weight.requires_grad and norm.origin_of(x) is not None
        return again or (dtype == x.dtype and products.faster(flat(x), parts.weight))

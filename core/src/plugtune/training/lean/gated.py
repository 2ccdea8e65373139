"""The gated feed-forward block, down(act(gate(x)) · up(x)), as one differentiable step (arXiv:2002.05202).

Layer by layer, act(gate) and the product are kept for the backward pass beside gate and up; here they are computed
again from those, which costs two passes over them and saves half of the block's memory.

What the backward pass keeps is kept before `down` is applied. Where activations are recomputed, torch stops a layer's
recomputation at the last tensor that was kept in it, and so in most models never applies `down` a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from plugtune.training.lean import linear
from plugtune.training.lean.inputs import NOTHING, Input, Inputs, flat
from plugtune.training.lean.linear import Parts, Tensor


@dataclass(frozen=True, slots=True)
class Activation:
    """An elementwise function and its gradient: `backward(dy, x)`."""

    forward: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]


SILU = Activation(torch.nn.functional.silu, torch.ops.aten.silu_backward)
GELU = Activation(torch.nn.functional.gelu, torch.ops.aten.gelu_backward)
GELU_TANH = Activation(
    lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    lambda dy, x: torch.ops.aten.gelu_backward(dy, x, approximate="tanh"),
)
KNOWN = (SILU, GELU, GELU_TANH)


class _GatedBlock(torch.autograd.Function):
    """Everything but the last product: answers a stand-in for the block's answer, and what that is computed from.

    Arguments: input `(T, size)`, the same as computed with, all inputs, activation, the three layers in the dtype of
    computation, and four tensors a layer as the graph has them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        given: Input,
        inputs: Inputs,
        activation: Activation,
        layers: tuple[Parts, ...],
        *tensors: Any,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        gate_layer, up_layer, down_layer = layers
        gate, gate_h = linear.apply(given.values, gate_layer)
        up, up_h = linear.apply(given.values, up_layer)
        product = activation.forward(gate).mul_(up)
        down_h = linear.narrowed(product, down_layer)
        wanted = ctx.needs_input_grad[5:]
        needs_x = any(wanted[i] for i in (0, 2, 4, 6))
        ctx.save_for_backward(
            *(given.kept if needs_x else NOTHING), gate, up, gate_h, up_h, down_h,
            *gate_layer.tensors, *up_layer.tensors, *down_layer.tensors,
        )  # fmt: skip
        ctx.inputs, ctx.activation, ctx.scales = inputs, activation, tuple(layer.scale for layer in layers)
        ctx.dtypes = (x.dtype, *(None if t is None else t.dtype for t in tensors))
        ctx.mark_non_differentiable(product, *([] if down_h is None else [down_h]))
        ctx.set_materialize_grads(False)  # no zeros of the product's size in the backward pass
        return product.new_zeros(()).expand(len(product), down_layer.weight.shape[0]), product, down_h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        x0, x1, x2, gate, up, gate_h, up_h, down_h, *tensors = ctx.saved_tensors
        gate_layer, up_layer, down_layer = (Parts.of(tensors[4 * i : 4 * i + 4], ctx.scales[i]) for i in range(3))
        wanted = ctx.needs_input_grad[5:]
        activated = ctx.activation.forward(gate)
        d_product, down_dh = linear.input_gradient(dy, down_layer)
        product = activated * up if wanted[8] or wanted[10] else None
        down = linear.weight_gradients(dy, product, down_h, down_dh, down_layer.scale, wanted[8:])
        del product
        d_up = activated.mul_(d_product)
        d_gate = ctx.activation.backward(d_product.mul_(up), gate)
        dx, gate_dh = linear.input_gradient(d_gate, gate_layer)
        dx, up_dh = linear.input_gradient(d_up, up_layer, into=dx)
        x = ctx.inputs.again((x0, x1, x2), gate.dtype)
        found = (
            *linear.weight_gradients(d_gate, x, gate_h, gate_dh, gate_layer.scale, wanted[:4]),
            *linear.weight_gradients(d_up, x, up_h, up_dh, up_layer.scale, wanted[4:8]),
            *down,
        )
        own, *others = ctx.dtypes
        return dx.to(own), None, None, None, None, *linear.in_their_dtype(found, others)


class _InPlaceOf(torch.autograd.Function):
    """Arguments: a stand-in, and the values that take its place in the graph."""

    @staticmethod
    def forward(ctx: Any, stand_in: Tensor, values: Tensor) -> Tensor:
        ctx.mark_dirty(values)  # given back as they are, not as a view, which callers could not write to
        return values

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        return dy, None


@dataclass(frozen=True, slots=True)
class Gated:
    """A block's three layers and its activation."""

    gate: Any
    up: Any
    down: Any
    activation: Activation

    def __call__(self, x: Tensor, inputs: Inputs) -> Tensor | None:
        """The block's answer; None when one of its layers is not plain."""
        parts = [linear.parts_of(layer) for layer in (self.gate, self.up, self.down)]
        if any(p is None for p in parts):
            return None
        dtype = linear.compute_dtype(x, *parts)  # type: ignore[arg-type]
        if dtype is None:
            return None
        layers = tuple(linear.in_dtype(p, dtype) for p in parts)  # type: ignore[arg-type]
        tensors = [t for p in parts for t in p.tensors]  # type: ignore[union-attr]
        stand_in, product, h = _GatedBlock.apply(
            flat(x), inputs.of(x, dtype), inputs, self.activation, layers, *tensors
        )
        with torch.no_grad():
            values = linear.answer(product, h, layers[2])
        del product
        y: Tensor = _InPlaceOf.apply(stand_in, values)
        return y.view(*x.shape[:-1], y.shape[-1])


@dataclass(frozen=True, slots=True)
class LeanGated:
    """Stands for the forward pass of a gated block; falls back on the block's `own` where a layer is not plain."""

    block: Gated
    own: Callable[..., Tensor]
    inputs: Inputs

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As the block's own: `(..., size)` → `(..., size)`."""
        if args or kwargs or not torch.is_grad_enabled():
            return self.own(x, *args, **kwargs)
        y = self.block(x, self.inputs)
        return self.own(x) if y is None else y

"""A linear layer with or without a LoRA adapter as one differentiable step, which keeps its input once.

y = x Wᵀ + b + s (x Aᵀ) Bᵀ (arXiv:2106.09685). Layer by layer, peft writes x Wᵀ, s (x Aᵀ) Bᵀ and their sum to memory of
their own, and under autocast casts the input for each of them; here the products are added where the first one stands.
The numbers differ from peft's by the order of rounding only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from plugtune.training.products import product, product_added

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class Parts:
    """What a linear layer computes with: `weight (out, in)`, `bias (out,)`, `a (r, in)`, `b (out, r)`, `scale`."""

    weight: Tensor
    bias: Tensor | None
    a: Tensor | None
    b: Tensor | None
    scale: float

    @classmethod
    def of(cls, tensors: Sequence[Any], scale: float) -> Parts:
        """From the four tensors in their order."""
        weight, bias, a, b = tensors
        return cls(weight, bias, a, b, scale)

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """The tensors that gradients may flow to, in the order of `backward`'s answers."""
        return self.weight, self.bias, self.a, self.b


def parts_of(layer: Any) -> Parts | None:
    """The parts of a plain linear layer, or of one with a single plain adapter; None for everything else.

    A layer with hooks, with dropout, with several adapters, with a variant (DoRA …), quantized, or already merged, has
    its own way of computing.
    """
    if layer._forward_hooks or layer._forward_pre_hooks:
        return None
    if type(layer) is torch.nn.Linear:
        return Parts(layer.weight, layer.bias, None, None, 0.0)
    base = getattr(layer, "base_layer", None)
    if type(base) is not torch.nn.Linear or base._forward_hooks or base._forward_pre_hooks:
        return None
    if not hasattr(layer, "lora_A") or layer.merged:
        return None
    if layer.disable_adapters:
        return Parts(base.weight, base.bias, None, None, 0.0)
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(active) != 1 or active[0] in layer.lora_variant:
        return None
    (name,) = active
    if type(layer.lora_dropout[name]) is not torch.nn.Identity or layer.lora_B[name].bias is not None:
        return None
    scale = layer.scaling[name]
    if not isinstance(scale, float | int):
        return None
    return Parts(base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, float(scale))


def compute_dtype(x: Tensor, *layers: Parts) -> torch.dtype | None:
    """The dtype that these layers compute `x` in; None when that is not one dtype."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    dtypes = {t.dtype for layer in layers for t in layer.tensors if t is not None}
    return x.dtype if dtypes == {x.dtype} else None


def in_dtype(layer: Parts, dtype: torch.dtype) -> Parts:
    """The layer's tensors in a dtype, outside the graph."""
    return Parts.of([None if t is None else t.detach().to(dtype) for t in layer.tensors], layer.scale)


def apply(x: Tensor, layer: Parts) -> tuple[Tensor, Tensor | None]:
    """`x (T, in)` → the answer `(T, out)` and what the backward pass wants of the adapter, `x Aᵀ (T, r)`."""
    h = narrowed(x, layer)
    return answer(x, h, layer), h


def narrowed(x: Tensor, layer: Parts) -> Tensor | None:
    """`x Aᵀ (T, r)`; None for a layer without an adapter."""
    return None if layer.a is None or layer.b is None else product(x, layer.a)


def answer(x: Tensor, h: Tensor | None, layer: Parts) -> Tensor:
    """The answer `(T, out)` to `x (T, in)`, given `x Aᵀ`."""
    y = product(x, layer.weight, layer.bias)
    return y if h is None or layer.b is None else y.addmm_(h, layer.b.t(), alpha=layer.scale)


def input_gradient(dy: Tensor, layer: Parts, into: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Gradient of the input, added to `into` if given (which is used up), and the gradient of `x Aᵀ`."""
    back = layer.weight.t()
    dx = product(dy, back) if into is None else product_added(dy, back, into)
    dh = adapter_gradient(dy, layer)
    return (dx, None) if layer.a is None or dh is None else (dx.addmm_(dh, layer.a), dh)


def adapter_gradient(dy: Tensor, layer: Parts) -> Tensor | None:
    """Gradient of `x Aᵀ`; None for a layer without an adapter."""
    return None if layer.b is None else product(dy, layer.b.t()).mul_(layer.scale)


def weight_gradients(
    dy: Tensor, x: Tensor | None, h: Tensor | None, dh: Tensor | None, scale: float, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Gradients of weight, bias, A and B; those that are not `wanted` are None. `x` may be None if none needs it."""
    weight, bias, a, b = wanted
    return (
        dy.t() @ x if weight and x is not None else None,
        dy.sum(0) if bias else None,
        product(dh.t(), x.t()) if a and dh is not None and x is not None else None,
        product(h.t(), dy.t()).t().mul_(scale) if b and h is not None else None,  # few rows, not few columns
    )


def in_their_dtype(gradients: tuple[Tensor | None, ...], dtypes: Any) -> list[Tensor | None]:
    """Each gradient in the dtype of what it belongs to."""
    return [None if g is None else g.to(dtype) for g, dtype in zip(gradients, dtypes, strict=True)]

"""Cross-entropy of an output head in chunks of positions: the logits of a batch are never in memory at once.

Loss and gradients are those of the plain computation; they are formed together, chunk by chunk, in the forward pass,
so that no logits are kept or computed again for the backward pass. With V words and chunks of C positions the extra
memory is one C × V block instead of several blocks of all positions × V.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from plugtune.training import products
from plugtune.training.products import product, product_added

BLOCK = 2**24
"""Logits computed at a time (64 MiB in fp32)."""


class _Sums(NamedTuple):
    """Where the gradients of a pass are gathered; `None` where nobody asks for one."""

    hidden: torch.Tensor | None
    weight: torch.Tensor | None
    bias: torch.Tensor | None


class _Head(NamedTuple):
    """What logits are computed with, in the dtype of computation: `(V, size)` and `(V,)` or `None`."""

    weight: torch.Tensor
    bias: torch.Tensor | None


class _Part(NamedTuple):
    """The logits `(C, width)` of some words."""

    words: slice
    logits: torch.Tensor


class _Blocks:
    """Where the logits of a chunk go: one block of memory for all chunks, because the system hands out each page of a
    new one anew; or, where `products` answers in memory of its own, a part of the words at a time, as they come."""

    def __init__(self, rows: int, head: _Head) -> None:
        self._rows, self._head = rows, head

    @functools.cached_property
    def _wide(self) -> torch.Tensor:
        weight = self._head.weight
        return torch.empty(self._rows, weight.shape[0], dtype=torch.float32, device=weight.device)

    @functools.cached_property
    def _computed(self) -> torch.Tensor:
        dtype = self._head.weight.dtype
        return self._wide if dtype == torch.float32 else torch.empty_like(self._wide, dtype=dtype)

    def logits(self, inputs: torch.Tensor) -> list[_Part]:
        """`inputs (C, size)` → their logits in fp32, to be written over."""
        weight, bias = self._head
        parts = products.parts_of(inputs, weight)
        if parts:
            return [_Part(p, product(inputs, weight[p], None if bias is None else bias[p])) for p in parts]
        computed = self._computed[: len(inputs)]
        product(inputs, weight, bias, out=computed)
        wide = computed if self._computed is self._wide else self._wide[: len(computed)].copy_(computed)
        return [_Part(slice(0, len(weight)), wide)]

    def narrowed(self, wide: torch.Tensor) -> torch.Tensor:
        """The same in the dtype of computation."""
        same = self._head.weight.dtype == torch.float32
        return wide if same else self._computed[: len(wide)].copy_(wide)


class _HeadCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        divisor: torch.Tensor,
        smoothing: float,
    ) -> torch.Tensor:
        wanted = ctx.needs_input_grad
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        made = torch.empty_like if len(targets) else torch.zeros_like  # the first chunk writes over it
        sums = _Sums(
            torch.empty_like(hidden) if wanted[0] else None,
            made(weight, dtype=torch.float32) if wanted[1] else None,
            torch.zeros_like(bias, dtype=torch.float32) if bias is not None and wanted[2] else None,
        )
        loss = torch.zeros((), dtype=torch.float32, device=hidden.device)
        with torch.autocast(device, enabled=False):
            inputs, head = hidden.to(dtype), _Head(weight.to(dtype), None if bias is None else bias.to(dtype))
            size = max(min(BLOCK // weight.shape[0], len(targets)), 1)
            blocks = _Blocks(size, head)
            for start in range(0, len(targets), size):
                rows = slice(start, start + size)
                loss += _chunk(inputs[rows], head, blocks, targets[rows], divisor, smoothing, sums, rows)
        ctx.save_for_backward(*sums)
        ctx.dtypes = (weight.dtype, None if bias is None else bias.dtype)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias = ctx.saved_tensors
        # The sums belong to this pass alone, so that they may be scaled where they are.
        return (
            None if hidden is None else hidden.mul_(scale),
            None if weight is None else weight.mul_(scale).to(ctx.dtypes[0]),
            None if bias is None else bias.mul_(scale).to(ctx.dtypes[1]),
            None,
            None,
            None,
        )


def _chunk(
    inputs: torch.Tensor,
    head: _Head,
    blocks: _Blocks,
    targets: torch.Tensor,
    divisor: torch.Tensor,
    smoothing: float,
    sums: _Sums,
    rows: slice,
) -> torch.Tensor:
    """The loss of some positions; their gradients go into `sums`."""
    parts, targets = blocks.logits(inputs), targets[:, None]
    right = _of_targets(parts, targets)
    mean = _sum(part.logits.sum(-1, keepdim=True) for part in parts) / len(head.weight) if smoothing else 0.0
    highest = functools.reduce(torch.maximum, (part.logits.amax(-1, keepdim=True) for part in parts))
    for part in parts:
        part.logits.sub_(highest).exp_()
    sum_of_powers = _sum(part.logits.sum(-1, keepdim=True) for part in parts)
    losses = highest + sum_of_powers.log() - (1 - smoothing) * right - smoothing * mean
    if sums != (None, None, None):
        for part in parts:
            gradient = part.logits.div_(sum_of_powers * divisor)
            if smoothing:
                gradient -= smoothing / (len(head.weight) * divisor)
            at, inside = _places(part, targets)
            gradient.scatter_add_(1, at, torch.where(inside, (smoothing - 1) / divisor, 0.0))
            _add(blocks.narrowed(gradient), inputs, part.words, rows, head, sums)
    return losses.sum() / divisor


def _sum(values: Iterator[torch.Tensor]) -> torch.Tensor:
    return functools.reduce(torch.add, values)


def _places(part: _Part, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the targets `(C, 1)` are in a part, and whether they are in it at all."""
    at = targets - part.words.start
    last = part.logits.shape[1] - 1
    return at.clamp(0, last), (at >= 0) & (at <= last)


def _of_targets(parts: list[_Part], targets: torch.Tensor) -> torch.Tensor:
    """The logits of the targets, `(C, 1)`."""
    found = torch.zeros_like(targets, dtype=torch.float32)
    for part in parts:
        at, inside = _places(part, targets)
        found = torch.where(inside, part.logits.gather(1, at), found)
    return found


def _add(gradient: torch.Tensor, inputs: torch.Tensor, words: slice, rows: slice, head: _Head, sums: _Sums) -> None:
    """Adds to `sums` what the gradient `(C, width)` of the logits of some words gives."""
    weight = head.weight[words]
    if sums.hidden is not None:  # each position belongs to one chunk
        if words.start == 0:
            sums.hidden[rows] = product(gradient, weight.t())
        else:
            sums.hidden[rows] = product_added(gradient, weight.t(), sums.hidden[rows])
    if sums.weight is not None:
        _add_product(sums.weight[words], gradient.T, inputs, first=rows.start == 0)
    if sums.bias is not None:
        sums.bias[words].add_(gradient.sum(0))


def _add_product(to: torch.Tensor, left: torch.Tensor, right: torch.Tensor, first: bool) -> None:
    """`to` += left · right; the first one is written over whatever was there."""
    if left.dtype == to.dtype:
        to.addmm_(left, right, beta=0 if first else 1)
    elif first:
        to.copy_(left @ right)
    else:
        to.add_(left @ right)


def head_cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    divisor: torch.Tensor,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """Sum of the cross-entropies of `hidden @ weight.T + bias` at each position, divided by `divisor`.

    Args:
        hidden: `(positions, size)`; under autocast the product is computed in its dtype, as a linear layer's is.
        weight: `(V, size)` of the head.
        bias: `(V,)`, or `None`.
        targets: `(positions,)` int64, the word that follows each position; none is masked.
        divisor: scalar tensor, usually the number of trained tokens of an optimizer step.
        smoothing: label smoothing ε: (1 − ε) of the target's loss and ε of the mean over all words (arXiv:1512.00567).

    Returns:
        A scalar in fp32, differentiable once in `hidden`, `weight` and `bias`.
    """
    loss: torch.Tensor = _HeadCrossEntropy.apply(hidden, weight, bias, targets, divisor, smoothing)
    return loss

"""Cross-entropy of an output head in chunks of positions: the logits of a batch are never in memory at once.

Loss and gradients are those of the plain computation; they are formed together, chunk by chunk, in the forward pass,
so that no logits are kept or computed again for the backward pass. With V words and chunks of C positions the extra
memory is one C × V block instead of several blocks of all positions × V.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from plugtune.training.products import product

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


class _Blocks:
    """One block of memory for the logits of all chunks: the system hands out each page of a new one anew."""

    def __init__(self, rows: int, head: torch.Tensor) -> None:
        self._wide = torch.empty(rows, head.shape[0], dtype=torch.float32, device=head.device)
        same = head.dtype == torch.float32
        self._computed = self._wide if same else torch.empty_like(self._wide, dtype=head.dtype)

    def logits(self, inputs: torch.Tensor, head: _Head) -> torch.Tensor:
        """`inputs (C, size)` → their logits `(C, V)` in fp32."""
        computed = self._computed[: len(inputs)]
        product(inputs, head.weight, head.bias, out=computed)
        return computed if self._computed is self._wide else self._wide[: len(computed)].copy_(computed)

    def narrowed(self, wide: torch.Tensor) -> torch.Tensor:
        """The same in the dtype of computation."""
        return wide if self._computed is self._wide else self._computed[: len(wide)].copy_(wide)


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
            blocks = _Blocks(size, head.weight)
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
    logits, targets = blocks.logits(inputs, head), targets[:, None]
    right, mean = logits.gather(1, targets), logits.mean(-1, keepdim=True) if smoothing else 0.0
    highest = logits.amax(-1, keepdim=True)
    powers = logits.sub_(highest).exp_()
    sum_of_powers = powers.sum(-1, keepdim=True)
    losses = highest + sum_of_powers.log() - (1 - smoothing) * right - smoothing * mean
    if sums != (None, None, None):
        gradient = powers.div_(sum_of_powers * divisor)
        if smoothing:
            gradient -= smoothing / (logits.shape[1] * divisor)
        gradient.scatter_add_(1, targets, ((smoothing - 1) / divisor).expand_as(right))
        gradient = blocks.narrowed(gradient)
        if sums.hidden is not None:
            sums.hidden[rows] = gradient @ head.weight  # written in place: each position belongs to one chunk
        if sums.weight is not None:
            _add_product(sums.weight, gradient.T, inputs, first=rows.start == 0)
        if sums.bias is not None:
            sums.bias.add_(gradient.sum(0))
    return losses.sum() / divisor


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

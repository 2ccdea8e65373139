"""Causal attention of rows laid end to end on a CPU, as one differentiable step that keeps each thing once.

Row by row, the stock path keeps keys and values repeated for every query head that shares them, the answer of each row
and again the answers joined, all in fp32; here queries, keys, values and the joined answer are kept as they came, and
widened and repeated again, a row at a time, in the backward pass. The kernel is the stock one (flash attention,
arXiv:2205.14135), so an fp32 forward pass is the same to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

Tensor = torch.Tensor

KERNEL = "_scaled_dot_product_flash_attention_for_cpu"


def usable(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether the step takes these: on a CPU, with heads of one size, and query heads that share keys evenly."""
    return (
        query.device.type == "cpu"
        and hasattr(torch.ops.aten, KERNEL)
        and query.shape[-1] == key.shape[-1] == value.shape[-1]
        and query.shape[1] % key.shape[1] == 0
        and key.shape[1] == value.shape[1]
    )


def row_attention(query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], scale: float | None) -> Tensor:
    """Each row attends to itself.

    Args:
        query: `(1, heads, T, size)`.
        key, value: `(1, key heads, T, size)`.
        lengths: tokens of each row; their sum is T.
        scale: of the scores; `1 / √size` when left out.

    Returns:
        `(1, T, heads, size)` in the query's dtype.
    """
    answer: Tensor = _Rows.apply(query, key, value, tuple(lengths), scale)
    return answer


def _wide(rows: Tensor, shared: int) -> Tensor:
    """In fp32, each head repeated for the query heads that share it."""
    return rows.float() if shared == 1 else rows.float().repeat_interleave(shared, dim=1)


def _bounds(lengths: Sequence[int]) -> Iterator[slice]:
    start = 0
    for length in lengths:
        yield slice(start, start + length)
        start += length


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...], scale: float | None
    ) -> Tensor:
        shared = query.shape[1] // key.shape[1]
        joined = query.new_empty(1, query.shape[2], query.shape[1], query.shape[3])
        sums = []
        for row in _bounds(lengths):
            answer, logsumexp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                query[:, :, row].float(), _wide(key[:, :, row], shared), _wide(value[:, :, row], shared),
                0.0, True, scale=scale,
            )  # fmt: skip
            joined[:, row] = answer.transpose(1, 2)
            sums.append(logsumexp)
        ctx.save_for_backward(query, key, value, joined, torch.cat(sums, -1))
        ctx.lengths, ctx.scale = lengths, scale
        return joined

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        query, key, value, joined, sums = ctx.saved_tensors
        shared = query.shape[1] // key.shape[1]
        gradients = [torch.empty_like(part) for part in (query, key, value)]
        for row in _bounds(ctx.lengths):
            found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                dy[:, row].transpose(1, 2).float(), query[:, :, row].float(),
                _wide(key[:, :, row], shared), _wide(value[:, :, row], shared),
                joined[:, row].transpose(1, 2).float(), sums[..., row].contiguous(), 0.0, True, scale=ctx.scale,
            )  # fmt: skip
            for gradient, one in zip(gradients, found, strict=True):
                heads = gradient.shape[1]
                parts = one if one.shape[1] == heads else one.unflatten(1, (heads, shared)).sum(2)
                gradient[:, :, row] = parts
        return *gradients, None, None

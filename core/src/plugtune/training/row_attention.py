"""Causal attention of rows laid end to end on a CPU, as one differentiable step that keeps each thing once.

Row by row, the stock path keeps keys and values repeated for every query head that shares them, the answer of each row
and again the answers joined, all in fp32; here queries, keys, values and the joined answer are kept as they came, and
widened again, a row at a time, in the backward pass. Keys are never repeated: the query heads that share them are given
to the kernel as if they were so many sequences, all with the same keys. The kernel is the stock one (flash attention,
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


def _queries(row: Tensor, shared: int) -> Tensor:
    """`(1, heads, L, size)` → `(shared, key heads, L, size)` in fp32, each head beside those with other keys."""
    return _apart(row[0], shared).float()


def _apart(row: Tensor, shared: int) -> Tensor:
    """`(heads, L, size)` → a view of it, `(shared, key heads, L, size)`."""
    return row.unflatten(0, (-1, shared)).transpose(0, 1)


def _keys(row: Tensor, shared: int) -> Tensor:
    """`(1, key heads, L, size)` → the same in fp32 for each of the `shared` query heads, in memory once."""
    return row.float().expand(shared, -1, -1, -1)


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
                _queries(query[:, :, row], shared), _keys(key[:, :, row], shared), _keys(value[:, :, row], shared),
                0.0, True, scale=scale,
            )  # fmt: skip
            _apart(joined[0, row].transpose(0, 1), shared).copy_(answer)
            sums.append(logsumexp)
        ctx.save_for_backward(query, key, value, joined, torch.cat(sums, -1))
        ctx.lengths, ctx.scale = lengths, scale
        return joined

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        query, key, value, joined, sums = ctx.saved_tensors
        shared = query.shape[1] // key.shape[1]
        d_query, d_key, d_value = (torch.empty_like(part) for part in (query, key, value))
        for row in _bounds(ctx.lengths):
            of_queries, *of_keys = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
                _queries(dy[:, row].transpose(1, 2), shared), _queries(query[:, :, row], shared),
                _keys(key[:, :, row], shared), _keys(value[:, :, row], shared),
                _queries(joined[:, row].transpose(1, 2), shared), sums[..., row].contiguous(),
                0.0, True, scale=ctx.scale,
            )  # fmt: skip
            _apart(d_query[0, :, row], shared).copy_(of_queries)
            for gradient, found in zip((d_key, d_value), of_keys, strict=True):
                gradient[0, :, row] = found.sum(0) if shared > 1 else found[0]
        return d_query, d_key, d_value, None, None

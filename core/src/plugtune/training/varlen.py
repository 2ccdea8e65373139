"""Attention of rows laid end to end in one kernel call on a GPU (flash attention, arXiv:2307.08691).

The package flash-attn's kernel where it is installed, else torch's own.
"""

from __future__ import annotations

import functools
import math

import torch

from plugtune.training.trials import NARROW, Choice, Run, close, first_right

Tensor = torch.Tensor

DEVICES = ("cuda",)
DTYPES = NARROW
LARGEST_HEAD = 256


def attention(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int | None, scale: float | None,
    window: int | None,
) -> Tensor | None:  # fmt: skip
    """Each row attends to itself, causally; `None` where there is no kernel for these.

    Args:
        query: `(1, heads, T, size)`.
        key, value: `(1, key heads, T, size)`.
        bounds: `(rows + 1,)` int32, cumulative lengths starting at 0.
        longest: tokens of the longest row; read from `bounds` when left out.
        scale: of the scores; `1 / √size` when left out.
        window: how many tokens a token sees, itself included; all when left out.

    Returns:
        `(1, T, heads, size)` in the dtype of computation.
    """
    device = query.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else query.dtype
    fits = query.shape[-1] == key.shape[-1] == value.shape[-1] <= LARGEST_HEAD
    if device not in DEVICES or dtype not in DTYPES or not fits or (found := choice(query.device).kernel) is None:
        return None
    longest = int((bounds[1:] - bounds[:-1]).max()) if longest is None else int(longest)
    flat = (part[0].transpose(0, 1).to(dtype) for part in (query, key, value))
    answer: Tensor = found.run(*flat, bounds, longest, scale, window)
    return answer[None]


@functools.cache
def choice(device: torch.device) -> Choice:
    """The kernel that is used on a device; tried once."""
    kernels = {"flash-attn": _flash_attn, "torch's varlen_attn": _torch}
    return first_right(device, kernels, functools.partial(_right, device))


def _flash_attn() -> Run | None:
    from transformers.utils import is_flash_attn_2_available

    if not is_flash_attn_2_available():
        return None
    from flash_attn import flash_attn_varlen_func

    def run(
        q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int, scale: float | None, window: int | None
    ) -> Tensor:
        seen = (window - 1, 0) if window else (-1, -1)
        answer: Tensor = flash_attn_varlen_func(
            q, k, v, bounds, bounds, longest, longest, softmax_scale=scale, causal=True, window_size=seen
        )
        return answer

    return run


def _torch() -> Run | None:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:  # before torch 2.10
        return None

    def run(
        q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int, scale: float | None, window: int | None
    ) -> Tensor:
        seen = (window - 1 if window else -1, 0)
        answer: Tensor = varlen_attn(  # type: ignore[assignment]
            q, k, v, bounds, bounds, longest, longest, scale=scale, window_size=seen, enable_gqa=True
        )
        return answer

    return run


def _right(device: torch.device, run: Run) -> bool:
    return all(_right_with(device, run, window) for window in (None, 3))


def _right_with(device: torch.device, run: Run, window: int | None) -> bool:
    lengths, size = (5, 1, 9), 64
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(sum(lengths), heads, size, generator=generator) for heads in (4, 2, 2)]
    narrow = [part.to(device, DTYPES[0]).requires_grad_() for part in made]
    wide = [part.detach().float().requires_grad_() for part in narrow]
    bounds = torch.tensor([0, 5, 6, 15], dtype=torch.int32, device=device)
    answer = run(*narrow, bounds, max(lengths), None, window)
    truth = _plainly(wide, lengths, window)
    dy = torch.randn(truth.shape, generator=generator).to(device)
    answer.backward(dy.to(answer.dtype))
    truth.backward(dy)
    gradients = [[part.grad for part in parts if part.grad is not None] for parts in (narrow, wide)]
    return close([answer, *gradients[0]], [truth, *gradients[1]])


def _plainly(parts: list[Tensor], lengths: tuple[int, ...], window: int | None) -> Tensor:
    """The textbook's attention of queries, keys and values `(T, heads, size)`, row by row."""
    shared, rows = parts[0].shape[1] // parts[1].shape[1], []
    for q, k, v in zip(*(part.split(lengths) for part in parts), strict=True):
        k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
        scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
        at = torch.arange(len(q), device=q.device)
        distance = at[:, None] - at[None, :]
        hidden = (distance < 0) | (distance >= (window or len(q) + 1))
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        rows.append(torch.einsum("hqk,khd->qhd", weights, v))
    return torch.cat(rows)

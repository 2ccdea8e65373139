"""The loss of an output head by a fused kernel on a GPU: Liger's (arXiv:2410.10989) or cut-cross-entropy's
(arXiv:2411.09009), where one is installed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec

import torch

from plugtune.training.cross_entropy import head_cross_entropy
from plugtune.training.trials import Choice, Run, close, first_right

Tensor = torch.Tensor

DEVICES = ("cuda",)
DTYPES = (torch.bfloat16,)
"""Not fp16: gradients are formed before the loss is scaled, and would vanish."""
IGNORE = -100


@functools.cache
def choose(device: torch.device, dtype: torch.dtype, size: int, bias: bool, smoothing: float) -> Choice:
    """The kernel for heads like this; none where the loss is computed as on a CPU.

    `run(hidden (K, size), weight (V, size), bias (V,) or None, targets (K,))` gives the sum of the cross-entropies.

    Args:
        device: where the loss is computed.
        dtype: what it is computed in.
        size: of a hidden state.
        bias: whether the head has one.
        smoothing: label smoothing.
    """
    if device.type not in DEVICES or dtype not in DTYPES:
        return Choice()
    kernels: dict[str, Callable[[], Run | None]] = {"Liger": functools.partial(_liger, smoothing)}
    if not bias and not smoothing:
        kernels["cut-cross-entropy"] = _cut_cross_entropy
    return first_right(device, kernels, functools.partial(_right, device, dtype, size, bias, smoothing))


def _liger(smoothing: float) -> Run | None:
    if find_spec("liger_kernel") is None:
        return None
    from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

    loss = LigerFusedLinearCrossEntropyLoss(
        ignore_index=IGNORE, label_smoothing=smoothing, reduction="sum", accum_dtype=torch.float32
    )
    return lambda hidden, weight, bias, targets: loss(weight, hidden, targets, bias)


def _cut_cross_entropy() -> Run | None:
    if find_spec("cut_cross_entropy") is None:
        return None
    from cut_cross_entropy import linear_cross_entropy

    def run(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        # Without its filter, which leaves out small gradients.
        loss: Tensor = linear_cross_entropy(
            hidden, weight, targets, ignore_index=IGNORE, reduction="sum", filter_eps=None
        )
        return loss

    return run


def _right(device: torch.device, dtype: torch.dtype, size: int, bias: bool, smoothing: float, run: Run) -> bool:
    words, positions = 1000, 37
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(positions, size, generator=generator), 0.05 * torch.randn(words, size, generator=generator)]
    made += [torch.randn(words, generator=generator)] if bias else []
    targets = torch.randint(0, words, (positions,), generator=generator).to(device)
    answers = []
    for exact in (False, True):
        answer: list[Tensor] = []
        for frozen in (False, True):  # an adapter's head stands still
            parts = [part.to(device, dtype).to(torch.float32 if exact else dtype) for part in made]
            leaves = [part.requires_grad_() for part in (parts[:1] if frozen else parts)]
            hidden, weight, *rest = parts
            last = rest[0] if rest else None
            one = torch.ones((), device=device)
            loss = (
                head_cross_entropy(hidden, weight, last, targets, one, smoothing)
                if exact
                else run(hidden, weight, last, targets)
            )
            answer += [loss.detach(), *torch.autograd.grad(loss, leaves)]
        answers.append(answer)
    return close(*answers)

"""Kernels of other packages for a GPU: taken where they are installed and prove right on the device at hand.

None of them could be run where this was written. So each is asked first, on small random input, whether it gives the
answer and the gradients of the plain computation there; one that fails, or gives others, is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch

Tensor = torch.Tensor

NARROW = (torch.bfloat16, torch.float16)
TOLERANCE = 3e-2
"""Of the largest number: products in 16 bits differ by less, a wrong one by far more."""


class Kernel(NamedTuple):
    """A function of another package, and the package's name."""

    name: str
    run: Callable[..., Any]


def first_right(
    device: torch.device, kernels: Iterable[Callable[[], Kernel | None]], right: Callable[[Kernel], bool]
) -> Kernel | None:
    """The first kernel that is installed and right.

    Args:
        device: where they are tried; whatever happens to be going on there, with gradients and in the dtypes given.
        kernels: each gives one, or `None` where its package is missing.
        right: tries one; whatever it raises counts as no.
    """
    for make in kernels:
        try:
            kernel = make()
            with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
                if kernel is not None and right(kernel):
                    return kernel
        except Exception:  # whatever a foreign kernel raises on a device that it does not know
            continue
    return None


def close(found: Iterable[Tensor], expected: Iterable[Tensor]) -> bool:
    """Whether tensors agree, each within `TOLERANCE` of its largest number."""
    return all(
        bool((one.float() - two.float()).abs().max() <= TOLERANCE * two.float().abs().max().clamp(min=1e-6))
        for one, two in zip(found, expected, strict=True)
    )

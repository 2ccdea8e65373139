"""Kernels of other packages for a GPU: taken where they are installed and prove right on the device at hand.

None of them could be run where this was written. So each is asked first, on small random input, whether it gives the
answer and the gradients of the plain computation there; one that fails, or gives others, is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch

Tensor = torch.Tensor

NARROW = (torch.bfloat16, torch.float16)
TOLERANCE = 3e-2
"""Of the largest number: products in 16 bits differ by less, a wrong one by far more."""


Run = Callable[..., Any]


class Kernel(NamedTuple):
    """A function of another package, and the package's name."""

    name: str
    run: Run


class Choice(NamedTuple):
    """The kernel that is used, if any, and what is to be said of installed ones that are not."""

    kernel: Kernel | None = None
    refused: tuple[str, ...] = ()


def first_right(
    device: torch.device, kernels: Mapping[str, Callable[[], Run | None]], right: Callable[[Run], bool]
) -> Choice:
    """The first kernel that is installed and right.

    Args:
        device: where they are tried; whatever happens to be going on there, with gradients and in the dtypes given.
        kernels: by their packages' names; each gives a function, or `None` where its package is missing.
        right: tries one; whatever it raises counts as no.
    """
    refused: list[str] = []
    for name, make in kernels.items():
        try:
            run = make()
            with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
                if run is not None and right(run):
                    return Choice(Kernel(name, run), tuple(refused))
            if run is not None:
                refused.append(f"{name} is not used: its numbers are not those of the plain computation on {device}")
        except Exception as error:  # whatever a foreign kernel raises on a device that it does not know
            why = (str(error).strip().splitlines() or [""])[0][:200]
            refused.append(f"{name} is not used: it fails on {device} ({type(error).__name__}: {why})")
    return Choice(None, tuple(refused))


def close(found: Iterable[Tensor], expected: Iterable[Tensor]) -> bool:
    """Whether tensors agree, each within `TOLERANCE` of its largest number."""
    return all(
        bool((one.float() - two.float()).abs().max() <= TOLERANCE * two.float().abs().max().clamp(min=1e-6))
        for one, two in zip(found, expected, strict=True)
    )

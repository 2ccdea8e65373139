"""What linear layers keep of their input for the backward pass.

Layers that are given the same tensor share one cast of it. Of an input that comes straight from a normalisation they
keep nothing of their own: the normalisation keeps what it was made of, and the first of the layers whose backward pass
wants the input makes it again, to the bit, for all of them.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from plugtune.training.lean import norm

Tensor = torch.Tensor

NOTHING = (None, None, None)
"""Kept of an input that no gradient asks for."""


def flat(x: Tensor) -> Tensor:
    """`(…, size)` → `(T, size)`. Shapes change outside the steps, so that callers may write to their answers."""
    return x.reshape(-1, x.shape[-1])


class Input(NamedTuple):
    """A layer's input `(T, size)` in the dtype of computation, and what brings it back in the backward pass."""

    values: Tensor
    kept: tuple[Tensor | None, ...]


class _Again(NamedTuple):
    """The input that was made again last. Holds its scale, so that no other has the same address meanwhile."""

    scale: Tensor
    values: Tensor


class Inputs:
    """The inputs of all layers of a model."""

    def __init__(self) -> None:
        self._latest: Callable[[], Tensor | None] = lambda: None
        self._cast: Tensor | None = None
        self._again: _Again | None = None

    def of(self, x: Tensor, dtype: torch.dtype) -> Input:
        """An input, outside the graph.

        Args:
            x: `(…, size)` as the graph has it.
            dtype: what the layer computes in.
        """
        values = flat(self._in_dtype(x, dtype))
        origin = norm.origin_of(x)
        return Input(values, (values, None, None) if origin is None else (origin.x, origin.weight, origin.scale))

    def again(self, kept: Sequence[Any], dtype: torch.dtype) -> Any:
        """The input `(T, size)` in the backward pass, from what was `kept`; None if nothing was."""
        x, weight, scale = kept
        if weight is None:
            return x
        latest = self._again
        if latest is None or latest.scale.data_ptr() != scale.data_ptr() or latest.values.dtype != dtype:
            self._again = None  # before the new one takes memory
            latest = _Again(scale, flat(norm.normalised(x, weight, scale).to(dtype)))
            self._again = latest
        return latest.values

    def _in_dtype(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        if x.dtype == dtype:
            return x.detach()
        if self._latest() is not x or self._cast is None or self._cast.dtype != dtype:
            # Held until the next input comes: layers keep views of it, which do not keep the tensor itself alive.
            self._latest, self._cast = weakref.ref(x), x.detach().to(dtype)
        return self._cast

"""Products x Wᵀ of matrices in fp32 on a CPU, by oneDNN where it is the faster library.

torch gives them to MKL, which takes slower ways on processors that are not Intel's. On an AMD EPYC with AVX-512, oneDNN
did products of the sizes of SmolLM2-135M, and of layers of 4,096, 10 to 35 % faster, and the narrow ones of adapters up
to several times; small ones and gradients of whole weights are faster in MKL and stay there. Both sum in fp32: the
numbers differ by the order of rounding. Without oneDNN, on other processors and in other dtypes torch's own way is
taken.
"""

from __future__ import annotations

import functools
import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Tensor = torch.Tensor

WORTH_IT = 2**22
"""Multiplications from which on oneDNN's start is paid for."""
AT_A_TIME = 2**23
"""Numbers of a wide weight that one product is given (32 MiB)."""
CPUINFO = Path("/proc/cpuinfo")


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """`x (T, in)`, `weight (out, in)` and `bias (out,)` → `x Wᵀ + b`, outside the graph, in `out` if that is given."""
    parts = parts_of(x, weight)
    if not parts:
        return torch.mm(x, weight.t(), out=out) if bias is None else torch.addmm(bias, x, weight.t(), out=out)
    other = _onednn()
    if out is None and len(parts) == 1:
        return other(x, weight, bias, "none", [], "")
    out = x.new_empty(len(x), len(weight)) if out is None else out
    for part in parts:
        out[:, part] = other(x, weight[part], None if bias is None else bias[part], "none", [], "")
    return out


def parts_of(x: Tensor, weight: Tensor) -> list[slice]:
    """The rows of a weight `(out, in)` that oneDNN is given at a time; none where torch's own way is taken.

    It lays weights out anew for a product and answers in memory of its own, both of which a part of a wide weight
    keeps small.
    """
    count = max(math.ceil(weight.numel() / AT_A_TIME), 1)
    rows = max(math.ceil(len(weight) / count), 1)
    if _other_than_torch(x, weight[:rows]) is None:  # a part of a transposed weight has gaps
        return []
    return [slice(start, min(start + rows, len(weight))) for start in range(0, len(weight), rows)]


def product_added(x: Tensor, weight: Tensor, to: Tensor) -> Tensor:
    """`to (T, out)` + x Wᵀ; `to` may be written to and is not to be used any more."""
    other = _other_than_torch(x, weight) if weight.numel() <= AT_A_TIME and to.is_contiguous() else None
    if other is not None:
        added: Tensor = other.binary(x, to, weight, None, "add")  # type: ignore[attr-defined]
        return added
    return to.addmm_(x, weight.t())


def faster(x: Tensor, weight: Tensor) -> bool:
    """Whether `product` is faster than torch's own for these."""
    return _other_than_torch(x, weight) is not None


def _other_than_torch(x: Tensor, weight: Tensor) -> Callable[..., Tensor] | None:
    if x.device.type != "cpu" or x.dtype != torch.float32 or weight.dtype != torch.float32:
        return None
    worth_it = x.dim() == 2 and x.shape[0] * weight.numel() >= WORTH_IT
    if not worth_it or not (_without_gaps(x) and _without_gaps(weight)):
        return None
    return _onednn() if torch.backends.mkldnn.enabled else None


def _without_gaps(matrix: Tensor) -> bool:
    """Whether a matrix or its transpose fills its memory. oneDNN takes hundreds of times as long for others."""
    return matrix.is_contiguous() or matrix.t().is_contiguous()


@functools.cache
def _onednn() -> Any:
    """oneDNN's product as torch's compiler calls it, if this processor does better with it and it is there."""
    operators = getattr(torch.ops, "mkldnn", None)
    operator = getattr(operators, "_linear_pointwise", None)
    if operator is None or not torch.backends.mkldnn.is_available() or not _amd():
        return None
    generator = torch.Generator().manual_seed(0)
    x, weight, to = (torch.randn(*size, generator=generator) for size in ((5, 7), (3, 7), (5, 3)))
    try:
        answers = operator(x, weight, None, "none", [], ""), operator.binary(x, to, weight, None, "add")
    except (RuntimeError, TypeError, AttributeError):
        return None
    expected = x @ weight.t()
    same = torch.allclose(answers[0], expected, atol=1e-5) and torch.allclose(answers[1], to + expected, atol=1e-5)
    return operator if same else None


def _amd() -> bool:
    if CPUINFO.is_file():
        return "AuthenticAMD" in CPUINFO.read_text(encoding="utf-8", errors="replace")[:4096]
    return "AuthenticAMD" in platform.processor()  # Windows

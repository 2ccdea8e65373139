"""Which trained parameters are weight matrices of chosen modules, and which are the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plugtune import RequestError
from plugtune.modeling.methods import check_targets


def split(model: Any, targets: Sequence[str], option: str) -> tuple[list[Any], list[Any]]:
    """Trained matrices `(out, in)` of the target modules, and every other trained parameter.

    Raises:
        RequestError: a target names nothing, or no trained matrix is among them.
    """
    names = set(check_targets(model, targets, None, option))
    matrices: list[Any] = []
    rest: list[Any] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            module = name.rpartition(".")[0]
            chosen = parameter.ndim == 2 and (module in names or module.rpartition(".")[2] in names)
            (matrices if chosen else rest).append(parameter)
    if not matrices:
        raise RequestError("no trained weight matrix is among the targets", where=option, fix="write all")
    return matrices, rest


def decayed(parameters: Sequence[Any], decay: float) -> list[dict[str, Any]]:
    """Groups with weight decay for matrices and none for vectors (norms, biases)."""
    wide, narrow = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]
    return [{"params": part, "weight_decay": value} for part, value in ((wide, decay), (narrow, 0.0)) if part]

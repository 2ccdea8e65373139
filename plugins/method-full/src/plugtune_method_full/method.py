"""Every weight that text goes through is trained."""

from __future__ import annotations

from typing import Any

from plugtune.modeling.methods import MethodContext, outside_text, trained_in_fp32


def prepare(model: Any, context: MethodContext) -> Any:
    """The model with every weight trained that text goes through, in fp32 unless pure_bf16 was asked for."""
    model.requires_grad_(context.training)
    for parameter in outside_text(model):
        parameter.requires_grad_(False)
    if context.training and not context.pure_bf16:
        trained_in_fp32(model)
    return model

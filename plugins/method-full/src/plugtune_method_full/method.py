"""Every weight is trained."""

from __future__ import annotations

from typing import Any

from plugtune.modeling.methods import MethodContext, trained_in_fp32


def prepare(model: Any, context: MethodContext) -> Any:
    """The model with every weight trained, in fp32 unless pure_bf16 was asked for."""
    model.requires_grad_(context.training)
    if context.training and not context.pure_bf16:
        trained_in_fp32(model)
    return model

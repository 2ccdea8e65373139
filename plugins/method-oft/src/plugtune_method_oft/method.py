"""Rotations through peft: new, continued and stacked ones."""

from __future__ import annotations

from typing import Any

from plugtune.modeling.adapters import open_adapter, split_adapters
from plugtune.modeling.methods import (
    MethodContext,
    check_targets,
    modules_outside_text,
    rest_in_fp32,
    trained_in_fp32,
)


def prepare(model: Any, context: MethodContext) -> Any:
    """The model with its rotations.

    Raises:
        RequestError: an adapter folder or a target name is wrong.
    """
    model.requires_grad_(False)
    if context.training and not context.pure_bf16:
        rest_in_fp32(model, linear=True)
    merged, continued = split_adapters(context.adapters, new=context.options.create_new_adapter)
    for folder in merged:
        model = open_adapter(model, folder).merge_and_unload()
    model = open_adapter(model, continued, trainable=context.training) if continued else _new(model, context)
    if context.training and not context.pure_bf16:
        trained_in_fp32(model)
    return model


def _new(model: Any, context: MethodContext) -> Any:
    from peft import OFTConfig, TaskType, get_peft_model

    options = context.options
    whole = check_targets(model, options.additional_target, context.family, "additional_target")
    targets = check_targets(model, options.oft_target, context.family, "oft_target")
    config = OFTConfig(
        task_type=TaskType.CAUSAL_LM,
        r=options.oft_rank,
        oft_block_size=options.oft_block_size,
        module_dropout=options.module_dropout,
        target_modules=targets,
        exclude_modules=modules_outside_text(model, targets),
        modules_to_save=whole or None,
    )
    return get_peft_model(model, config)

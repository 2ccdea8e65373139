"""Adapters through peft: new, continued and stacked ones, over plain and quantized bases."""

from __future__ import annotations

from typing import Any

from plugtune import RequestError
from plugtune.modeling.adapters import open_adapter, split_adapters
from plugtune.modeling.methods import (
    MethodContext,
    check_targets,
    frozen_linears_in,
    modules_outside_text,
    rest_in_fp32,
    trained_in_fp32,
)


def prepare(model: Any, context: MethodContext) -> Any:
    """The model with its adapter.

    Raises:
        RequestError: an adapter folder or a target name is wrong.
    """
    options = context.options
    if context.model_options.quantization_bit and context.training:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    else:
        model.requires_grad_(False)
    if context.training and _computes_with_weights(options) and not context.pure_bf16:
        rest_in_fp32(model, linear=True)
    merged, continued = split_adapters(context.adapters, new=options.create_new_adapter)
    if merged and context.model_options.quantization_bit:
        raise RequestError(
            "adapters cannot be merged into a quantized base", where="adapter_name_or_path",
            fix="give a single adapter, or merge them first with plugtune export",
        )  # fmt: skip
    for folder in merged:
        model = open_adapter(model, folder).merge_and_unload()
    model = open_adapter(model, continued, trainable=context.training) if continued else _new(model, context)
    if context.training and not context.pure_bf16:
        trained_in_fp32(model)
    if context.training and context.autocast and not _computes_with_weights(options):
        frozen_linears_in(model, context.autocast)
    if options.loraplus_lr_ratio:
        model.plugtune_optimizer = lambda arguments: _loraplus(model, options, arguments)
    return model


def _computes_with_weights(options: Any) -> bool:
    """DoRA and PiSSA compute with the base weights themselves and want them in fp32."""
    return bool(options.use_dora or options.pissa_init)


def _new(model: Any, context: MethodContext) -> Any:
    from peft import LoraConfig, TaskType, get_peft_model

    options = context.options
    targets = check_targets(model, options.lora_target, context.family, "lora_target")
    whole = check_targets(model, options.additional_target, context.family, "additional_target")
    start: Any = True
    if options.pissa_init:
        start = "pissa" if options.pissa_iter == -1 else f"pissa_niter_{options.pissa_iter}"
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=options.lora_rank,
        lora_alpha=options.lora_alpha or 2 * options.lora_rank,
        lora_dropout=options.lora_dropout,
        target_modules=targets,
        exclude_modules=modules_outside_text(model, targets),
        modules_to_save=whole or None,
        use_rslora=options.use_rslora,
        use_dora=options.use_dora,
        init_lora_weights=start,
    )
    return get_peft_model(model, config)


def _loraplus(model: Any, options: Any, arguments: Any) -> Any:
    from peft.optimizers import create_loraplus_optimizer
    from transformers import Trainer

    kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments)
    return create_loraplus_optimizer(
        model=model, optimizer_cls=kind, loraplus_lr_ratio=options.loraplus_lr_ratio,
        loraplus_lr_embedding=options.loraplus_lr_embedding, loraplus_weight_decay=arguments.weight_decay, **settings,
    )  # fmt: skip

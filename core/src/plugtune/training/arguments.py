"""From a plan to `transformers.TrainingArguments`: the only place where the two vocabularies meet."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugtune.errors import Problem, RequestError
from plugtune.training.plan import Plan


def make_arguments(plan: Plan, *, precision: Mapping[str, bool]) -> Any:
    """Training arguments of a plan.

    Args:
        plan: the resolved plan.
        precision: `bf16`/`fp16` as decided for this machine.

    Raises:
        RequestError: the installed transformers refuses a value; its words are kept.
    """
    import torch
    from transformers import TrainingArguments

    fields = dict(plan.trainer)
    fields.update(precision)
    for name in ("gradient_checkpointing", "activation_checkpointing"):
        fields.pop(name, None)  # decided when the model is known: set_checkpointing
    fields.setdefault("use_cpu", not torch.cuda.is_available() and not _other_accelerator())
    fields["disable_tqdm"] = True  # the progress line is ours
    fields["remove_unused_columns"] = False  # rows hold token columns only
    fields["report_to"] = fields.get("report_to") or "none"  # `report_to: none` of a file is read as no value
    fields.setdefault("label_names", ["labels"])
    fields.setdefault("dataloader_pin_memory", torch.cuda.is_available())
    fields["do_train"], fields["do_eval"] = plan.run.do_train, plan.run.do_eval
    fields["do_predict"] = plan.run.do_predict
    fields["output_dir"] = str(plan.run.output_dir)
    fields["seed"] = plan.run.seed
    if plan.data.streaming:
        # Batches that one process cuts up for the others lose the bounds of their rows.
        fields.setdefault("accelerator_config", {"dispatch_batches": False})
    if plan.method.saves_adapter:
        # An adapter's weights all take part in every step; searching for unused ones costs a walk over the graph.
        fields.setdefault("ddp_find_unused_parameters", False)
    if plan.run.early_stopping_steps:
        fields.setdefault("metric_for_best_model", "eval_loss")
        fields.setdefault("greater_is_better", False)
    if plan.run.logging_dir:
        # transformers 5 has no logging_dir: its TensorBoard callback reads this variable.
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(Path(plan.run.logging_dir))
    try:
        return TrainingArguments(**fields)
    except (TypeError, ValueError) as error:
        problem = Problem(
            "transformers refuses the training arguments", why=str(error).strip(), fix="change the option it names"
        )
        raise RequestError.of([problem]) from error


def set_checkpointing(arguments: Any, on: bool) -> None:
    """Whether activations are recomputed in the backward pass; under the old and the new name of the field."""
    how = getattr(arguments, "activation_checkpointing_kwargs", None) or arguments.gradient_checkpointing_kwargs
    for name in ("gradient_checkpointing", "activation_checkpointing"):
        if hasattr(arguments, name):
            setattr(arguments, name, on)
            if on:
                setattr(arguments, f"{name}_kwargs", how or {"use_reentrant": False})


def _other_accelerator() -> bool:
    import torch

    return bool(torch.accelerator.is_available()) if hasattr(torch, "accelerator") else False

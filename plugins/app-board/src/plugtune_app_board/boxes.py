"""Boxes of the page that stand for several options, or for none: what they mean as options of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from plugtune.errors import Problem

COMPUTE: dict[str, dict[str, bool]] = {
    "auto": {}, "bf16": {"bf16": True}, "fp16": {"fp16": True}, "fp32": {"bf16": False, "fp16": False},
    "pure_bf16": {"pure_bf16": True},
}  # fmt: skip
BOOSTERS: dict[str, dict[str, Any]] = {
    "auto": {}, "flashattn2": {"flash_attn": "fa2"}, "liger_kernel": {"use_liger_kernel": True},
    "sdpa": {"flash_attn": "sdpa"}, "eager": {"flash_attn": "eager"},
}  # fmt: skip

EVALUATION = {"batch_size": "per_device_eval_batch_size", "eval_seed": "seed"}
"""Boxes of the evaluation page that have another name as options."""


def chosen(values: Mapping[str, Any], page: str, *names: str, nothing: tuple[str, ...] = ()) -> dict[str, Any]:
    """Options that have a box of their own name on a page; an empty one, or one of `nothing`, is left out."""
    found = {name: values.get(f"{page}.{name}") for name in names}
    return {name: value for name, value in found.items() if value not in (None, "", *nothing)}


def names_of(value: Any) -> list[str]:
    """The names of a box that holds one, several or none."""
    if value in (None, ""):
        return []
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def evaluation(options: Mapping[str, Any]) -> dict[str, Any]:
    """A share kept for evaluation is used: evaluate whenever a checkpoint is saved."""
    if not options.get("val_size") or options.get("eval_strategy"):
        return {}
    return {"eval_strategy": "steps", "eval_steps": options.get("save_steps", 100), "do_eval": True}


def deepspeed(values: Mapping[str, Any]) -> dict[str, Any]:
    """A ZeRO configuration for the stage that was chosen; `auto` is filled in by the trainer."""
    stage = str(values.get("train.ds_stage") or "none")
    if stage not in ("2", "3"):
        return {}
    zero: dict[str, Any] = {"stage": int(stage), "overlap_comm": True, "contiguous_gradients": True}
    if stage == "3":
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if values.get("train.ds_offload"):
        zero |= {"offload_optimizer": {"device": "cpu"}} | (
            {"offload_param": {"device": "cpu"}} if stage == "3" else {}
        )
    auto = {"train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto", "bf16": {"enabled": "auto"}, "fp16": {"enabled": "auto"}}  # fmt: skip
    return {"deepspeed": {**auto, "zero_optimization": zero}}


def further(text: Any, where: str, problems: list[Problem]) -> dict[str, Any]:
    """The box of further options: a JSON object."""
    if text is None or not str(text).strip():
        return {}
    try:
        values = json.loads(str(text))
    except ValueError as error:
        problems.append(Problem("this is not JSON", where=where, why=str(error), fix='write {"name": value, ...}'))
        return {}
    if not isinstance(values, dict):
        problems.append(Problem("a JSON object is wanted", where=where, fix='write {"name": value, ...}'))
        return {}
    return {str(name).replace("-", "_"): value for name, value in values.items()}

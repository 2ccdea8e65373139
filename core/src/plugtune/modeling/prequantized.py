"""Checkpoints that are quantized already (GPTQ, AWQ …), recognised from their config before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from plugtune.errors import RequestError
from plugtune.training.plan import Plan

LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "gptq": ("gptqmodel",),
    "awq": ("gptqmodel", "awq"),
    "aqlm": ("aqlm",),
    "hqq": ("hqq",),
    "eetq": ("eetq",),
    "quanto": ("optimum.quanto",),
    "bitsandbytes": ("bitsandbytes",),
    "compressed-tensors": ("compressed_tensors",),
    "torchao": ("torchao",),
}
"""Kind of quantization in config.json → modules, one of which reads it."""
PACKAGES = {"awq": "autoawq", "optimum.quanto": "optimum-quanto", "compressed_tensors": "compressed-tensors"}


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is not there
        return False


def check_prequantized(plan: Plan, config: Mapping[str, Any], found: Callable[[str], bool] = _found) -> None:
    """Say what an already quantized checkpoint means for this run; the plan is adjusted.

    Raises:
        RequestError: the method cannot train on it, or the library that reads it is not installed.
    """
    quantization = config.get("quantization_config")
    if not quantization:
        return
    kind = str(quantization.get("quant_method") or "bitsandbytes").lower()
    if plan.run.do_train and not plan.method.quantization:
        raise RequestError(
            f"the model is quantized already ({kind}) and method {plan.method.name} trains whole weights",
            where="finetuning_type", fix="use finetuning_type lora, or the unquantized model",
        )  # fmt: skip
    modules = LIBRARIES.get(kind, ())
    if modules and not any(found(module) for module in modules):
        packages = " or ".join(PACKAGES.get(module, module) for module in modules)
        raise RequestError(
            f"the model is quantized already ({kind}) and nothing here reads that", where="model_name_or_path",
            fix=f"pip install {packages}; or take the unquantized model with --quantization_bit 4",
        )  # fmt: skip
    bits = quantization.get("bits") or quantization.get("w_bit") or ""
    plan.choose("quantization", f"{kind} {bits}".strip(), "the checkpoint is quantized already; the adapter is trained")
    if plan.model.quantization_bit:
        plan.notes.append(
            f"quantization_bit {plan.model.quantization_bit} does not apply: "
            f"the checkpoint is quantized already ({kind})"
        )
        plan.model.quantization_bit = None
    plan.notes.append(
        "such an adapter cannot be merged exactly: serve it as it is, or merge into the unquantized model"
    )

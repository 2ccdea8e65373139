"""Chooses the arithmetic: what the user asked for, else what the hardware does well. Says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plugtune.training.plan import Plan


@dataclass(frozen=True, slots=True)
class Precision:
    """The dtype of the weights, mixed-precision switches for the trainer, and the reason."""

    weights: str
    bf16: bool = False
    fp16: bool = False
    why: str = ""


def choose_precision(plan: Plan) -> Precision:
    """bf16 mixed precision where the device computes it, fp32 weights; a flag overrules it."""
    trainer = plan.trainer
    cuda, cpu_bf16 = _hardware()
    if plan.run.pure_bf16:
        return Precision("bfloat16", why="pure_bf16")
    if trainer.get("fp16"):
        if cuda:
            return Precision("float32" if plan.model.quantization_bit is None else "float16", fp16=True, why="fp16")
        plan.notes.append("fp16 needs a GPU; this machine computes in " + ("bf16" if cpu_bf16 else "fp32") + " instead")
        return Precision("float32", bf16=cpu_bf16, why="fp16 was asked for and there is no GPU")
    if "bf16" in trainer:
        return Precision("float32", bf16=bool(trainer["bf16"]), why=f"bf16 {str(trainer['bf16']).lower()}")
    if plan.model.compute_dtype != "auto":
        return Precision(plan.model.compute_dtype, why="compute_dtype")
    if cuda or cpu_bf16:
        return Precision("float32", bf16=True, why="this device computes bf16 natively")
    return Precision("float32", why="this device has no native bf16")


def _hardware() -> tuple[bool, bool]:
    import torch

    if torch.cuda.is_available() and torch.cuda.is_bf16_supported():
        return True, False
    supported: Any = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.cuda.is_available(), bool(supported())

"""Watches the first steps of a run for what silently wastes it: nothing trained on or learned, numbers that burst.

A loss that is no number stops the run. Everything else is told once, with a hint, and kept in `run.json`; the run goes
on, because it may be meant. Knows no stage: it looks at the losses, the gradients and the weights themselves.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from plugtune.errors import RunError
from plugtune.training.gathered import say

FIRST = 20
"""Steps that are watched closely."""
SAMPLED = 8
"""Trained tensors whose values are compared with where they began."""

HINTS = {
    "no token": (
        "no token of the batch is trained on",
        "all labels are masked: see what rows become with plugtune data preview; a small cutoff_len cuts off answers",
    ),
    "zero loss": ("the loss is exactly 0", "the answers may be empty or a single token, or the labels wrong"),
    "zero gradient": (
        "the gradient is 0 everywhere",
        "nothing that is trained has a part in the loss: check the targets of the method, and the labels",
    ),
    "zero rate": (
        "the learning rate has been 0 in every step",
        "set learning_rate above 0, or make warmup_steps shorter than the run",
    ),
    "overflow": (
        "most steps were skipped because fp16 overflowed",
        "use bf16 (or leave precision to plugtune): models trained in bf16 do not fit the range of fp16",
    ),
    "no move": (
        "the trained weights have not changed",
        "the learning rate is too small for the precision of the weights: raise it, or leave pure_bf16 out",
    ),
}


class FirstSteps(TrainerCallback):
    """The watchdog. `trainer` is set before training; it records the losses of its first steps."""

    def __init__(self, plan: Any) -> None:
        self.plan = plan
        self.trainer: Any = None
        self.told: set[str] = set()
        self.begun_at = 0
        self.rates: list[float] = []
        self.skipped = 0
        self.without_gradient: dict[str, Any] = {}
        self.sample: list[tuple[Any, torch.Tensor]] = []

    def _tell(self, kind: str, step: int, detail: str = "") -> None:
        if kind not in self.told:
            self.told.add(kind)
            what, hint = HINTS.get(kind, (detail, ""))
            self._note(f"step {step}: {what}", hint)

    def _note(self, what: str, hint: str) -> None:
        self.plan.notes.append(f"{what}; {hint}")
        say(f"warning: {what}\n    fix: {hint}")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        self.begun_at = state.global_step
        if model is None or args.deepspeed:  # DeepSpeed keeps gradients and weights to itself
            return
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.without_gradient = dict(trained)
        self.sample = [(p, _local(p).detach().clone()) for _, p in trained[-SAMPLED:]]

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        step = state.global_step + 1
        if step - self.begun_at > FIRST or not self.without_gradient:
            return
        every = len(self.without_gradient)
        fresh = [name for name, p in self.without_gradient.items() if p.grad is not None and bool(_local(p.grad).any())]
        if step == self.begun_at + 1 and not fresh and every:
            self._tell("zero gradient", step)
        for name in fresh:
            del self.without_gradient[name]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, lr_scheduler: Any = None, **_: Any
    ) -> None:
        done = state.global_step - self.begun_at
        if done > FIRST:
            return
        self._look_at_losses(state.global_step)
        accelerator = getattr(self.trainer, "accelerator", None)
        self.skipped += bool(args.fp16 and getattr(accelerator, "optimizer_step_was_skipped", False))
        if lr_scheduler is not None:
            # The scheduler has moved on already: what it says belongs to the next step.
            self.rates.append(max(group["lr"] for group in lr_scheduler.optimizer.param_groups))
        if done == min(FIRST, state.max_steps - self.begun_at):
            self._sum_up(state.global_step, done)

    def _look_at_losses(self, step: int) -> None:
        for loss, trained in getattr(self.trainer, "first_steps", ()):
            value = float(loss)
            if not math.isfinite(value):
                raise _burst(value, step)
            if trained is not None and int(trained) == 0:
                self._tell("no token", step)
            elif value == 0.0:
                self._tell("zero loss", step)
        if self.trainer is not None and hasattr(self.trainer, "first_steps"):
            self.trainer.first_steps.clear()

    def _sum_up(self, step: int, done: int) -> None:
        if done > 1 and self.rates and max(self.rates[:-1]) == 0.0:
            self._tell("zero rate", step)
        elif self.skipped > done / 2:
            self._tell("overflow", step)
        elif (
            done > 1 and self.sample and not self.told and all(bool((_local(p) == old).all()) for p, old in self.sample)
        ):
            self._tell("no move", step)
        names = list(self.without_gradient)
        # At its first step a new adapter has no gradient in half of its tensors: the other half is zero.
        if names and not self.told and done > 1:
            listed = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
            self._note(
                f"{len(names)} trained tensors have had no gradient in {done} steps ({listed})",
                "they have no part in the loss (experts that no token reached, a module that is not used): leave them "
                "out of the targets if that is not meant",
            )
        self.without_gradient, self.sample = {}, []

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        loss = (logs or {}).get("loss")
        if isinstance(loss, float) and not math.isfinite(loss):
            raise _burst(loss, state.global_step)


def _burst(loss: float, step: int) -> RunError:
    return RunError(
        f"the loss became {loss} at step {step}",
        why="usually fp16 on a model trained in bf16, or a learning rate that is too high",
        fix="use bf16 (or leave precision to plugtune), or lower learning_rate",
    )


def _local(tensor: Any) -> torch.Tensor:
    """This process's part of a sharded tensor: looking at the whole would be a collective operation."""
    part: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part

"""The first steps of a run that learns nothing are told, each with its hint; a run that learns is left in peace."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from plugtune.errors import RunError
from plugtune.training.watch import FIRST, FirstSteps


class Loop:
    """A training loop as small as it can be, that calls the watchdog as `transformers.Trainer` does."""

    def __init__(self, *, rate=0.01, dtype=torch.float32, spare=False, loss=None, labels=5, fp16=False, skipped=False):
        torch.manual_seed(0)
        self.model = torch.nn.Linear(4, 1, bias=False, dtype=dtype)
        if spare:
            self.model.spare = torch.nn.Linear(2, 2)
        self.loss, self.labels = loss, labels
        self.plan = SimpleNamespace(notes=[])
        self.watch = FirstSteps(self.plan)
        self.trainer = SimpleNamespace(first_steps=[], accelerator=SimpleNamespace(optimizer_step_was_skipped=skipped))
        self.watch.trainer = self.trainer
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=rate)
        self.scheduler = torch.optim.lr_scheduler.ConstantLR(self.optimizer, factor=1.0)
        self.args = SimpleNamespace(deepspeed=None, fp16=fp16)

    def run(self, steps: int = FIRST + 5) -> list[str]:
        state, control = SimpleNamespace(global_step=0, max_steps=steps), None
        self.watch.on_train_begin(self.args, state, control, model=self.model)
        for _ in range(steps):
            value = (self.model(torch.ones(1, 4, dtype=self.model.weight.dtype)) - 3).pow(2).mean()
            (value if self.loss is None else value * 0).backward()
            shown = value.detach() if self.loss is None else torch.tensor(self.loss)
            self.trainer.first_steps.append((shown, torch.tensor(self.labels)))
            self.watch.on_pre_optimizer_step(self.args, state, control)
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad()
            state.global_step += 1
            self.watch.on_step_end(self.args, state, control, lr_scheduler=self.scheduler)
        return self.plan.notes


def test_a_run_that_learns_is_left_in_peace():
    assert Loop().run() == []


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"loss": 0.0}, "the loss is exactly 0"),
        ({"labels": 0, "loss": 0.0}, "no token of the batch is trained on"),
        ({"loss": 1.0}, "the gradient is 0 everywhere"),
        ({"rate": 0.0}, "the learning rate has been 0"),
        ({"rate": 1e-9, "dtype": torch.bfloat16}, "the trained weights have not changed"),
        ({"spare": True}, "2 trained tensors have had no gradient"),
        ({"fp16": True, "skipped": True}, "fp16 overflowed"),
    ],
)
def test_what_wastes_a_run_is_told_once_with_a_hint(case, message, capsys):
    notes = Loop(**case).run()
    told = [note for note in notes if message in note]
    assert len(told) == 1, notes
    assert "fix: " in capsys.readouterr().err
    assert len(notes) <= 2


def test_an_adapter_part_without_gradient_is_named():
    assert "spare.bias" in " ".join(Loop(spare=True).run()) or "spare.weight" in " ".join(Loop(spare=True).run())


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run(loss):
    with pytest.raises(RunError, match=f"the loss became {loss} at step 1"):
        Loop(loss=loss).run()

"""A clean stop: SIGTERM and Ctrl-C finish the step, save a checkpoint and end the run, in all processes at once."""

from __future__ import annotations

import signal
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from plugtune.training.gathered import say
from plugtune.training.world import World


class StopOnSignal(TrainerCallback):
    """SIGTERM and Ctrl-C finish the step, save a checkpoint and stop; a second one ends the process at once.

    With several processes a signal to one of them stops all after the same step: what each has received is compared
    after every step, on the CPU, so that no device has to wait for it.

    Attributes:
        name: the signal that the run stopped for, empty while it goes on.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.name = ""
        self.received = 0
        self.group: Any = None
        self.previous: dict[int, Any] = {}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.world.size > 1:
            import torch.distributed as dist

            self.group = dist.new_group(backend="gloo")
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                self.previous[number] = signal.signal(number, self._remember)
            except ValueError:  # not the main thread: whoever embeds the run handles signals
                return

    def _remember(self, number: int, frame: Any) -> None:
        if self.received or self.world.failed():  # told twice, or another process is gone and no step will end
            raise KeyboardInterrupt
        self.received = number
        name = signal.Signals(number).name
        say(f"{name}: saving and stopping after this step (again: stop at once)")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        number = self._of_all()
        if number:
            self.name = signal.Signals(number).name
            control.should_save = True
            control.should_training_stop = True

    def _of_all(self) -> int:
        if self.group is None:
            return self.received
        import torch
        import torch.distributed as dist

        number = torch.tensor(self.received)
        dist.all_reduce(number, op=dist.ReduceOp.MAX, group=self.group)
        return int(number)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous.clear()

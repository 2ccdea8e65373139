"""A `transformers` callback that times each optimizer step; runs inside every side's process, so it imports only that.

It writes one JSON object: seconds of each step on the wall and of the processor, the logged losses, and the process's
largest resident memory before training and at its end (MB).
"""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback


def peak_mb() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class StepClock(TrainerCallback):
    """Times steps and writes what it saw to `path` when training ends."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.losses: list[float] = []
        self.started = (0.0, 0.0)
        self.before = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.before = peak_mb()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.started = (time.perf_counter(), time.process_time())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        wall, cpu = self.started
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        answer = {"wall_s": self.wall, "cpu_s": self.cpu, "losses": self.losses, "before_mb": self.before,
                  "peak_mb": peak_mb(), "checkpointing": bool(args.gradient_checkpointing),
                  "bf16": bool(args.bf16)}  # fmt: skip
        self.path.write_text(json.dumps(answer), encoding="utf-8")

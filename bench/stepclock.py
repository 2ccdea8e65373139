"""A `transformers` callback that times each optimizer step; runs inside every side's process, so it imports only that.

It writes one JSON object: seconds of each step on the wall and of the processor, the logged losses, seconds from the
start of the process to the first step, and the largest resident memory before training and at its end (MB).
"""

from __future__ import annotations

import json
import os
import resource
import time
import zlib
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

STARTED = "PLUGTUNE_BENCH_STARTED"
"""Environment variable with the time (seconds since 1970) at which the process was started."""


def peak_mb() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def same_start(model: Any) -> None:
    """Give adapters and heads values that depend on their place only, so that all sides start from the same ones.

    Sides draw them from one random generator in orders of their own. The head that LLaMA-Factory takes from trl has
    dropout, the other sides' have none: it is switched off.
    """
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            head = "v_head" in name or "score" in name
            if not weight.requires_grad or not (head or "lora_A" in name):
                continue
            place = "head" if head else name[name.index("layers.") :].replace(".default", "")
            generator = torch.Generator().manual_seed(zlib.crc32(place.encode()))
            values = torch.rand(weight.shape, generator=generator) * 2 - 1
            scale = weight.shape[-1] ** -0.5 if weight.dim() > 1 else 0.0  # a bias starts at 0
            weight.copy_(values * scale)
        for name, module in model.named_modules():
            if "v_head" in name and isinstance(module, torch.nn.Dropout):
                module.p = 0.0


class StepClock(TrainerCallback):
    """Times steps and writes what it saw to `path` when training ends."""

    def __init__(self, path: str, **more: Any) -> None:
        self.path, self.more = Path(path), more
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.losses: list[float] = []
        self.started = (0.0, 0.0)
        self.before = 0.0
        self.first: tuple[float, float] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        same_start(model)
        self.before = peak_mb()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.first is None:
            begun = float(os.environ.get(STARTED) or "nan")
            self.first = (time.time() - begun, time.process_time())
        self.started = (time.perf_counter(), time.process_time())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        wall, cpu = self.started
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        # LLaMA-Factory has a switch of its own that the trainer's arguments do not show.
        recomputes = args.gradient_checkpointing or any(
            getattr(m, "gradient_checkpointing", 0) for m in model.modules()
        )
        answer = {"wall_s": self.wall, "cpu_s": self.cpu, "losses": self.losses, "before_mb": self.before,
                  "peak_mb": peak_mb(), "checkpointing": bool(recomputes), "bf16": bool(args.bf16),
                  "first_step_s": self.first, **self.more}  # fmt: skip
        self.path.write_text(json.dumps(answer), encoding="utf-8")

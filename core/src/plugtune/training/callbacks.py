"""Core's callbacks: the log file and the progress line. One class, one job."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from plugtune.training.checkpoint import write_whole
from plugtune.training.report import peak_memory_mb


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def _is_metric(key: str, value: Any) -> bool:
    """A number of the stage: not one that the log file has under another name, nor one about speed."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and key not in ("learning_rate", "total_flos") and not key.endswith(("_runtime", "_per_second"))


class LogFile(TrainerCallback):
    """`trainer_log.jsonl`: one JSON object per logging step, flushed at once so that others can follow it.

    Keys: current_steps, total_steps, loss, eval_loss, lr, epoch, percentage, elapsed_time, remaining_time, throughput
    (tokens per second since the start, padding left out), trained_throughput (tokens with a label), total_tokens and
    trained_tokens, memory_mb (peak so far of the first process and its device, MiB), and every further number that the
    stage logs under its own name (`rewards/accuracies`, `eval_rewards/margins` …).
    """

    def __init__(self, path: Path, *, resumed_at: int | None = None, writes: bool = True) -> None:
        self.path = path
        self.trainer: Any = None
        self.started = 0.0
        self.first_step = 0
        if writes and resumed_at is None:
            path.unlink(missing_ok=True)
        elif writes:
            _keep_until(path, resumed_at or 0)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.started = time.monotonic()
        self.first_step = state.global_step

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        elapsed = time.monotonic() - self.started
        done = state.global_step - self.first_step
        left = max(state.max_steps - state.global_step, 0)
        tokens = getattr(self.trainer, "tokens_total", 0) or getattr(self.trainer, "tokens_seen", 0)
        trained = getattr(self.trainer, "trained_total", 0)
        entry = {
            "current_steps": state.global_step,
            "total_steps": state.max_steps,
            "loss": logs.get("loss"),
            "eval_loss": logs.get("eval_loss"),
            "lr": logs.get("learning_rate"),
            "grad_norm": logs.get("grad_norm"),
            "epoch": logs.get("epoch", state.epoch),
            "percentage": round(100 * state.global_step / state.max_steps, 2) if state.max_steps else 100.0,
            "elapsed_time": _clock(elapsed),
            "remaining_time": _clock(elapsed / done * left) if done else None,
            "throughput": round(tokens / elapsed, 2) if elapsed > 0 else None,
            "trained_throughput": round(trained / elapsed, 2) if elapsed > 0 and trained else None,
            "total_tokens": tokens,
            "trained_tokens": trained or None,
            "memory_mb": round(sum(peak_memory_mb().values()), 1),
        }
        entry = {key: value for key, value in entry.items() if value is not None}
        entry |= {key: value for key, value in logs.items() if key not in entry and _is_metric(key, value)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _keep_until(path: Path, step: int) -> None:
    """Drop what a killed run logged after the checkpoint it goes on from, and a last line that was cut off."""
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("current_steps", 0) <= step:
            kept.append(line)
    write_whole(path, "".join(kept).encode("utf-8"))


class Progress(TrainerCallback):
    """One line of progress on stderr: redrawn on a terminal, about ten lines in a log."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.last_loss: float | None = None
        self.next_line = 0.0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=state.max_steps, initial=state.global_step, unit="step", file=sys.stderr)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        self.last_loss = logs.get("loss", self.last_loss)
        parts = [f"{name} {logs[name]:.4f}" for name in ("loss", "eval_loss") if isinstance(logs.get(name), float)]
        if self.bar is not None:
            self.bar.set_postfix_str(", ".join(parts))
        elif state.max_steps and (state.global_step / state.max_steps >= self.next_line or "eval_loss" in logs):
            self.next_line = math.floor(10 * state.global_step / state.max_steps + 1) / 10
            print(f"step {state.global_step}/{state.max_steps}  {', '.join(parts)}", file=sys.stderr, flush=True)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self.bar is not None:
            self.bar.close()

"""Gives plugins what the trainer logs."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class LogHook(TrainerCallback):
    """Calls `plugtune_log` at every logging step of the first process."""

    def __init__(self, host: Any, plan: Any) -> None:
        self.host, self.plan = host, plan

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and logs:
            entry = {"current_steps": state.global_step, "total_steps": state.max_steps, **logs}
            self.host.hook.plugtune_log(entry=entry, plan=self.plan)

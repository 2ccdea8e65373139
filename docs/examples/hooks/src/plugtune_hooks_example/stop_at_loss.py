"""Callbacks: end the run when the loss is below `EXAMPLE_STOP_AT`."""

from __future__ import annotations

import os
from typing import Any

import plugtune


@plugtune.hookimpl
def plugtune_callbacks(plan: Any) -> list[Any]:
    """A `transformers.TrainerCallback`; the library is imported only when it is wanted."""
    bound = os.environ.get("EXAMPLE_STOP_AT")
    if bound is None:
        return []
    from transformers import TrainerCallback

    class StopAtLoss(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and logs.get("loss", float("inf")) < float(bound):
                control.should_training_stop = True

    return [StopAtLoss()]

"""Takes in the trainer that a stage has built: any `transformers.Trainer` gets what every run relies on.

A `PlugtuneTrainer` has it already. Another trainer (trl's, or a plain one) gets saves that are whole or absent, counted
tokens and the run's callbacks, and keeps its batches and its loss.
"""

from __future__ import annotations

from typing import Any

from transformers import Trainer

from plugtune.errors import PluginError
from plugtune.training.context import TrainerContext
from plugtune.training.counting import CountsTokens
from plugtune.training.saving import WholeSaves


def taken_in(built: Any, context: TrainerContext) -> Any:
    """The trainer of a run, whichever class a stage chose.

    Raises:
        PluginError: it is no `transformers.Trainer`.
    """
    if not isinstance(built, Trainer):
        stage = context.plan.stage
        raise PluginError(
            f"stage {stage.name} built {type(built).__name__}, which is no transformers.Trainer", where=stage.trainer,
            fix="let it return a plugtune.training.trainer.PlugtuneTrainer, or a class made from it",
        )  # fmt: skip
    trainer: Any = built
    kind = type(trainer)
    missing = tuple(base for base in (WholeSaves, CountsTokens) if not isinstance(trainer, base))
    if missing:
        trainer.__class__ = type(kind.__name__, (*missing, kind), {})
        trainer.context = context
        trainer.first_steps = []
    have = list(trainer.callback_handler.callbacks)
    for callback in context.callbacks:
        if callback not in have:
            trainer.add_callback(callback)
    return trainer

"""Takes in the trainer that a stage has built: any `transformers.Trainer` gets what every run relies on.

A `PlugtuneTrainer` has it already. Another trainer (trl's, or a plain one) gets saves that are whole or absent, counted
tokens, the run's callbacks, FSDP2 on CPU processes and an order of rows that a resume repeats; it keeps its batches and
its loss.
"""

from __future__ import annotations

from typing import Any

from transformers import Trainer

from plugtune.errors import PluginError
from plugtune.training.context import TrainerContext
from plugtune.training.counting import CountsTokens
from plugtune.training.cpu_sharding import shard_on_cpu
from plugtune.training.saving import WholeSaves


class TellsEpoch(Trainer):
    """Tells the sampler which epoch begins, also where a run of several processes goes on in the middle of one: there
    accelerate wraps the loader once more to skip batches, and the number does not reach the sampler."""

    def _run_epoch(self, *args: Any, **kwargs: Any) -> Any:
        epoch, loader = kwargs.get("epoch"), kwargs.get("train_dataloader")
        batches: Any = getattr(loader, "batch_sampler", None)
        while hasattr(batches, "batch_sampler"):
            batches = batches.batch_sampler
        tell = getattr(getattr(batches, "sampler", None), "set_epoch", None)
        if tell is not None and epoch is not None:
            tell(epoch)
        return super()._run_epoch(*args, **kwargs)


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
        shard_on_cpu(trainer)
        trainer.__class__ = type(kind.__name__, (TellsEpoch, *missing, kind), {})
        trainer.context = context
        trainer.first_steps = []
    have = list(trainer.callback_handler.callbacks)
    for callback in context.callbacks:
        if callback not in have:
            trainer.add_callback(callback)
    return trainer

"""Half-private names of transformers and accelerate that core relies on: a release that moves one fails here, by name."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from accelerate.state import AcceleratorState, PartialState
from transformers import Trainer

METHODS = {
    "_run_epoch": ("model", "epoch", "train_dataloader"),
    "create_accelerator_and_postprocess": (),
    "_get_train_sampler": ("train_dataset",),
    "_get_output_dir": ("trial",),
    "_save_checkpoint": ("model", "trial"),
    "_save_optimizer_and_scheduler": ("output_dir",),
    "_load_optimizer_and_scheduler": ("checkpoint",),
    "compute_loss": ("model", "inputs", "return_outputs", "num_items_in_batch"),
    "prediction_step": ("model", "inputs", "prediction_loss_only", "ignore_keys"),
    "create_optimizer": ("model",),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_that_core_overrides_is_there_with_its_arguments(name: str) -> None:
    method = getattr(Trainer, name, None)
    assert method is not None, f"transformers.Trainer.{name} is gone: see who overrides it in plugtune.training"
    have = [argument for argument in inspect.signature(method).parameters if argument != "self"]
    assert have[: len(METHODS[name])] == list(METHODS[name]), f"transformers.Trainer.{name} takes {have} now"


def _calls(function: Any, name: str) -> str:
    return next((line for line in inspect.getsource(function).splitlines() if name in line), "")


def test_the_training_loop_tells_run_epoch_its_epoch_by_name() -> None:
    source = inspect.getsource(Trainer)
    call = source[source.index("self._run_epoch(") :][:600]
    assert "epoch=epoch" in call, "Trainer calls _run_epoch otherwise now: PlugtuneTrainer and TellsEpoch read it there"
    assert "train_dataloader=train_dataloader" in call


def test_the_accelerator_is_made_where_core_expects_it() -> None:
    assert _calls(Trainer.__init__, "create_accelerator_and_postprocess("), (
        "Trainer makes its accelerator elsewhere now"
    )


def test_accelerates_state_has_the_fields_that_cpu_sharding_sets() -> None:
    assert isinstance(PartialState._shared_state, dict)
    assert "fsdp_plugin" in inspect.getsource(AcceleratorState), "AcceleratorState has no fsdp_plugin any more"
    assert "MULTI_CPU" in inspect.getsource(PartialState), "accelerate calls CPU processes otherwise now"

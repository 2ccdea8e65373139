"""The trainer of models with a value head: the language model's files as always, the head beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from plugtune.modeling.value_head import PREFIX, HeadedModel, head_for, hidden_size_of, load_head, save_head
from plugtune.training.context import TrainerContext
from plugtune.training.trainer import PlugtuneTrainer

INNER = "model."


def with_head(context: TrainerContext) -> TrainerContext:
    """The context with a value head on its model: the one of the adapter or model it starts from, else a new one."""
    options = context.plan.model
    adapters = [Path(options.adapter_folder or "") / name for name in reversed(options.adapter_name_or_path)]
    head, found = head_for(
        context.model, [*adapters, Path(str(options.model_name_or_path))], where="model_name_or_path"
    )
    context.plan.choose("value head", found or "new", "value_head.safetensors" if found else "the model has none")
    return replace(context, model=HeadedModel(context.model, head))


class HeadedTrainer(PlugtuneTrainer):
    """Saves and loads a `HeadedModel` as its language model and `value_head.safetensors`."""

    reads_end_to_end = True

    def __init__(self, context: TrainerContext, **overrides: Any) -> None:
        super().__init__(context, **overrides)
        # Losses are sums divided by the number of items of the whole step, not means of micro-batches.
        self.model_accepts_loss_kwargs = True

    @contextmanager
    def _language_model(self) -> Iterator[HeadedModel]:
        """While it lasts, the trainer's model is the language model alone."""
        headed: Any = self.model
        self.model = headed.model
        try:
            yield headed
        finally:
            self.model = headed

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        folder = Path(output_dir or str(self.args.output_dir))
        inner, head = _split(state_dict) if state_dict is not None else (None, None)
        with self._language_model() as headed:
            super()._save(str(folder), inner)
        if self.args.should_save:
            save_head(headed.v_head, folder, head)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with self._language_model() as headed:
            super()._load_from_checkpoint(resume_from_checkpoint)
        self._load_head(headed, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        with self._language_model() as headed:
            super()._load_best_model()
        self._load_head(headed, Path(str(self.state.best_model_checkpoint)))

    def _load_head(self, headed: HeadedModel, folder: Path) -> None:
        head = load_head(folder, hidden_size_of(headed.model), where="resume_from_checkpoint")
        headed.v_head.load_state_dict(head.state_dict())


def _split(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A headed model's state as the language model's and the head's."""
    inner = {name.removeprefix(INNER): value for name, value in state.items() if name.startswith(INNER)}
    head = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
    return inner, head

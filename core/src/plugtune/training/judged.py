"""The trainer of stages that judge answers: batches of prompts with answers, and metrics besides the loss.

Knows layouts, logging and dropout; the loss is the stage's own. Such losses are means over rows, not over tokens: the
loss of a step is the mean over all its rows, those of other micro-batches and processes included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from plugtune.training import attention
from plugtune.training.answers import AnswerBatcher, real_tokens
from plugtune.training.context import TrainerContext
from plugtune.training.means import Means
from plugtune.training.order import FILLER, FilledRows, row_labels
from plugtune.training.trainer import PlugtuneTrainer


@dataclass(frozen=True, slots=True)
class LabelledBatches:
    """A stage's batches with `labels` and `shift_labels` `(rows,)`, which count the rows of a step."""

    collate: Callable[[Any], dict[str, Any]]

    def __call__(self, rows: Any) -> dict[str, Any]:
        labels = row_labels(rows)
        return {**self.collate(rows), "labels": labels, "shift_labels": labels}


class JudgedTrainer(PlugtuneTrainer):
    """A trainer over rows of a prompt with judged answers. A stage gives `collator` and `judge`.

    Batches have `labels` `(rows,)` beside what the stage's collator makes: 1 for a row, -100 for one that fills an
    uneven end (see `training.order`), which counts neither in the loss nor in any mean.
    """

    next_token_loss = False
    reads_end_to_end = True

    def __init__(self, context: TrainerContext) -> None:
        self.means = {True: Means(), False: Means()}
        without_dropout(context)
        super().__init__(context)
        self.model_accepts_loss_kwargs = True  # losses are sums over the rows of the whole step

    def blank_row(self, rows: Any) -> dict[str, Any] | None:
        """The first row once more, marked as one that counts nothing."""
        return {**rows[0], FILLER: True}

    def collator(self, batcher: AnswerBatcher) -> Any:
        """What makes a batch of rows, given how groups are laid out."""
        raise NotImplementedError

    def judge(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        """The loss of each row of a batch, `(rows,)`; `record` takes what else is worth logging."""
        raise NotImplementedError

    def lay_out(self, wanted: bool) -> Any:
        """Prompts are shared between their answers where the model was seen to compute the same."""
        shared = self.end_to_end and attention.shares_prompts(self.context.model)
        if wanted:
            how = "prompts shared by their answers, logits only at answers" if shared else "padded"
            why = "answers were checked to be independent" if shared else "this model mixes answers of one prompt"
            self.context.plan.choose("batches", how, why)
        self.batcher = AnswerBatcher(shared, self.pad_token_id)
        return LabelledBatches(self.collator(self.batcher))

    def derive(self, means: dict[str, float]) -> dict[str, float]:
        """Numbers that follow from the means of a stage; a stage may add some."""
        return means

    def replace_rows(self, change: Callable[[Any], Any]) -> None:
        """Put other rows in the place of each data set."""
        if isinstance(self.train_dataset, FilledRows):
            changed = change(self.train_dataset.rows)
            self.train_dataset = FilledRows(changed, self.blank_row(changed) or {})
        elif self.train_dataset is not None:
            self.train_dataset = change(self.train_dataset)
        sets = self.eval_dataset
        if isinstance(sets, dict):
            self.eval_dataset = {name: change(rows) for name, rows in sets.items()}
        elif sets is not None:
            self.eval_dataset = change(sets)

    def record(self, **values: torch.Tensor) -> None:
        """Values of rows to be logged as means; `rewards_chosen` is logged as `rewards/chosen`."""
        for name, value in values.items():
            self.means[bool(self.context.model.training)].add(name.replace("_", "/", 1), value)

    def count_trained(self, inputs: dict[str, Any]) -> Any:
        """Answer tokens of a batch."""
        answers = [part["targets"] for part in inputs.values() if isinstance(part, dict)]
        return torch.tensor(sum(targets.numel() for targets in answers)) if answers else None

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The sum of the stage's losses over the number of rows of the whole step."""
        if model.training:
            self.tokens_seen += sum(real_tokens(part) for part in inputs.values() if isinstance(part, dict))
        kept = inputs["labels"] != -100
        losses = torch.where(kept, self.judge(model, inputs), 0.0)
        if not model.training:
            self.record(loss=losses[kept])
        count = kept.sum() if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
        loss = losses.sum() / count.clamp(min=1)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes  # gradients are averaged over them
        return (loss, {}) if return_outputs else loss

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """The loss only: the metrics are taken from what `judge` records."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, inputs).detach(), None, None

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """The stock loader; an uneven end is filled, so that no row is measured twice."""
        rows: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        if isinstance(rows, str):
            rows = self.eval_dataset[rows]  # type: ignore[index]
        if self.args.world_size > 1 and hasattr(rows, "__len__"):
            multiple = self.args.eval_batch_size * self.args.world_size
            rows = FilledRows(rows, self.blank_row(rows) or {}, multiple)
        return super().get_eval_dataloader(rows)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """The stock loop, with means over all evaluated rows in its metrics (the loss too, by row and not by batch)."""
        self.means[False] = Means()
        output = super().evaluation_loop(
            dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix=metric_key_prefix
        )
        means = self.derive(self.means[False].take(self.accelerator))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in means.items()}
        return output._replace(metrics={**(output.metrics or {}), **metrics})

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Training metrics go out together with the training loss."""
        if "loss" in logs:
            logs = {**logs, **self.derive(self.means[True].take(self.accelerator))}
        super().log(logs, start_time)


def without_dropout(context: TrainerContext) -> None:
    """Set every dropout to zero, as trl and LLaMA-Factory do: policy and reference must differ by weights only."""
    dropped = set()
    for module in context.model.modules():
        if isinstance(module, torch.nn.Dropout) and module.p:
            dropped.add(module.p)
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float) and module.attention_dropout:
            dropped.add(module.attention_dropout)
            module.attention_dropout = 0.0
    if dropped:
        rates = ", ".join(f"{rate:g}" for rate in sorted(dropped))
        context.plan.notes.append(f"dropout ({rates}) is off: preferences are compared with a fixed reference")

"""The trainer of stages that judge answers: batches of prompts with answers, and metrics besides the loss.

Knows layouts, logging and dropout; the loss is the stage's own. Such losses are means over rows, not over tokens, so
the loss of a step is the mean over its micro-batches.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from plugtune.training import attention
from plugtune.training.answers import AnswerBatcher, real_tokens
from plugtune.training.context import TrainerContext
from plugtune.training.trainer import PlugtuneTrainer


class Means:
    """Means of named values since the last time they were taken, over all processes."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(2, dtype=torch.float64))

    def add(self, name: str, values: torch.Tensor) -> None:
        """Add values of any shape; none is fine too. Nothing waits for the device."""
        values = values.detach()
        pair = torch.stack([values.sum(), torch.tensor(float(values.numel()), device=values.device)])
        self._sums[name] = self._sums[name].to(pair.device) + pair

    def take(self, accelerator: Any) -> dict[str, float]:
        """The means in order of name, forgotten here. All processes must have added the same names."""
        means = {}
        for name in sorted(self._sums):
            total, count = accelerator.reduce(self._sums[name].float(), "sum").tolist()
            if count:
                means[name] = total / count
        self._sums.clear()
        return means


class JudgedTrainer(PlugtuneTrainer):
    """A trainer over rows of a prompt with judged answers. A stage gives `collator` and `judge`."""

    next_token_loss = False
    reads_end_to_end = True

    def __init__(self, context: TrainerContext) -> None:
        self.means = {True: Means(), False: Means()}
        without_dropout(context)
        super().__init__(context)
        self.model_accepts_loss_kwargs = False

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
        return self.collator(self.batcher)

    def derive(self, means: dict[str, float]) -> dict[str, float]:
        """Numbers that follow from the means of a stage; a stage may add some."""
        return means

    def replace_rows(self, change: Callable[[Any], Any]) -> None:
        """Put other rows in the place of each data set."""
        if self.train_dataset is not None:
            self.train_dataset = change(self.train_dataset)
        sets = self.eval_dataset
        if isinstance(sets, dict):
            self.eval_dataset = {name: change(rows) for name, rows in sets.items()}
        elif sets is not None:
            self.eval_dataset = change(sets)

    def record(self, **values: torch.Tensor) -> None:
        """Values per row to be logged as means; `rewards_chosen` is logged as `rewards/chosen`."""
        for name, value in values.items():
            self.means[bool(self.context.model.training)].add(name.replace("_", "/", 1), value)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The mean of the stage's losses over the rows."""
        if model.training:
            self.tokens_seen += sum(real_tokens(part) for part in inputs.values() if isinstance(part, dict))
        losses = self.judge(model, inputs)
        if not model.training:
            self.record(loss=losses)
        return (losses.mean(), {}) if return_outputs else losses.mean()

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """The loss only: the metrics are taken from what `judge` records."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, inputs).detach(), None, None

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

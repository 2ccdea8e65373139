"""Trains a reward model on pairs.

Loss of a pair (Bradley and Terry 1952; arXiv:2203.02155, equation 1, with the mean over pairs):
-log sigmoid(r(x, y_chosen) - r(x, y_rejected)), r being the value head at the last token of prompt + answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from plugtune.training.context import TrainerContext
from plugtune.training.headed import HeadedTrainer
from plugtune.training.means import Means
from plugtune.training.order import FILLER, row_labels
from plugtune.training.sequences import lay_out
from torch.nn.functional import logsigmoid


@dataclass(frozen=True, slots=True)
class PairCollator:
    """Rows `prompt_ids`, `chosen_ids`, `rejected_ids` → one batch of 2N sequences, the chosen ones first.

    Beside the model's inputs: `values_at` `(2N,)`, the last token of each sequence; `labels` `(N,)` ones, which count
    the pairs of a step, and -100 for pairs that fill an uneven end.
    """

    end_to_end: bool
    pad: int

    def __call__(self, rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Any]:
        sequences = [[*row["prompt_ids"], *row[answer]] for answer in ("chosen_ids", "rejected_ids") for row in rows]
        layout = lay_out(sequences, end_to_end=self.end_to_end, pad=self.pad)
        last = [start + len(sequence) - 1 for start, sequence in zip(layout.starts, sequences, strict=True)]
        labels = row_labels(rows)
        return {**layout.inputs, "values_at": torch.tensor(last), "labels": labels, "shift_labels": labels}


class RewardTrainer(HeadedTrainer):
    """A `HeadedTrainer` over pairs. Logs `accuracy` (share of pairs in the right order) and `margin` with the loss."""

    next_token_loss = False

    def __init__(self, context: TrainerContext) -> None:
        super().__init__(context, compute_metrics=pair_metrics)
        self.data_collator = PairCollator(self.end_to_end, context.tokenizer.pad_token_id or 0)
        self.means = Means()

    def blank_row(self, rows: Any) -> dict[str, Any] | None:
        """The first pair once more, marked as one that counts nothing."""
        return {**rows[0], FILLER: True}

    def count_trained(self, inputs: dict[str, Any]) -> Any:
        """Nothing: an answer has one score and no trained tokens."""
        return

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Sum of the pairs' losses over the number of pairs of the whole step."""
        kept = inputs["labels"] != -100
        scores = self._scores(model, inputs)
        difference = scores[0] - scores[1]
        losses = torch.where(kept, -logsigmoid(difference), 0.0)
        loss = losses.sum() / (kept.sum() if num_items_in_batch is None else num_items_in_batch)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        if model.training:
            self.tokens_seen += _tokens(inputs)
            self.means.add("accuracy", (difference[kept] > 0).float())
            self.means.add("margin", difference[kept])
        return (loss, scores) if return_outputs else loss

    def _scores(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """`(2, N)`: scores of the chosen and of the rejected answers."""
        arguments = {name: value for name, value in inputs.items() if name not in ("labels", "shift_labels")}
        scores: torch.Tensor = model(**arguments).values.view(2, -1)
        return scores

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """The loss, the scores `(N, 2)` and ones for labels."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, scores = self.compute_loss(model, inputs, return_outputs=True)
        return loss.detach(), scores.T.contiguous(), inputs["labels"]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """The stock log with accuracy and margin since the last one."""
        if "loss" in logs:
            logs |= self.means.take(self.accelerator)
        super().log(logs, start_time)


def _tokens(inputs: Mapping[str, Any]) -> int:
    mask = inputs.get("attention_mask")
    return int(mask.sum()) if mask is not None else int(inputs["input_ids"].numel())


def pair_metrics(prediction: Any) -> dict[str, float]:
    """Loss, accuracy and margin over all pairs of an evaluation; scores are `(pairs, 2)`."""
    scores = torch.as_tensor(prediction.predictions).T
    difference = scores[0] - scores[1]
    return {
        "loss": float(-logsigmoid(difference).mean()),
        "accuracy": float((difference > 0).float().mean()),
        "margin": float(difference.mean()),
    }

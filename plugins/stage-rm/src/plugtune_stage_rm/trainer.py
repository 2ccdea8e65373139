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
from plugtune.training.sequences import lay_out
from torch.nn.functional import logsigmoid


@dataclass(frozen=True, slots=True)
class PairCollator:
    """Rows `prompt_ids`, `chosen_ids`, `rejected_ids` → one batch of 2N sequences, the chosen ones first.

    Beside the model's inputs: `values_at` `(2N,)`, the last token of each sequence; `labels` `(N,)` ones, which count
    the pairs of a step.
    """

    end_to_end: bool
    pad: int

    def __call__(self, rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Any]:
        sequences = [[*row["prompt_ids"], *row[answer]] for answer in ("chosen_ids", "rejected_ids") for row in rows]
        layout = lay_out(sequences, end_to_end=self.end_to_end, pad=self.pad)
        last = [start + len(sequence) - 1 for start, sequence in zip(layout.starts, sequences, strict=True)]
        ones = torch.ones(len(rows), dtype=torch.long)
        return {**layout.inputs, "values_at": torch.tensor(last), "labels": ones, "shift_labels": ones}


class RewardTrainer(HeadedTrainer):
    """A `HeadedTrainer` over pairs. Logs `accuracy` (share of pairs in the right order) and `margin` with the loss."""

    next_token_loss = False

    def __init__(self, context: TrainerContext) -> None:
        super().__init__(context, compute_metrics=pair_metrics)
        self.data_collator = PairCollator(self.end_to_end, context.tokenizer.pad_token_id or 0)
        self._seen: list[torch.Tensor] = []

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Sum of the pairs' losses over the number of pairs of the whole step."""
        pairs = inputs["labels"].shape[0]
        scores = self._scores(model, inputs)
        loss = -logsigmoid(scores[0] - scores[1]).sum() / (pairs if num_items_in_batch is None else num_items_in_batch)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        if model.training:
            self.tokens_seen += _tokens(inputs)
            self._seen.append(scores.detach())
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
        if self._seen and "loss" in logs:
            logs |= _measures(torch.cat(self._seen, dim=1))
            self._seen.clear()
        super().log(logs, start_time)


def _tokens(inputs: Mapping[str, Any]) -> int:
    mask = inputs.get("attention_mask")
    return int(mask.sum()) if mask is not None else int(inputs["input_ids"].numel())


def _measures(scores: torch.Tensor) -> dict[str, float]:
    difference = scores[0] - scores[1]
    return {"accuracy": float((difference > 0).float().mean()), "margin": float(difference.mean())}


def pair_metrics(prediction: Any) -> dict[str, float]:
    """Loss, accuracy and margin over all pairs of an evaluation; scores are `(pairs, 2)`."""
    scores = torch.as_tensor(prediction.predictions).T
    return {"loss": float(-logsigmoid(scores[0] - scores[1]).mean()), **_measures(scores)}

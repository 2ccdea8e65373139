"""Training on judged answers: each row with its own answer and with one to another prompt, for the KL estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from plugtune.training.answers import AnswerBatcher, Group, answer_logps, token_logps
from plugtune.training.context import TrainerContext
from plugtune.training.judged import JudgedTrainer
from plugtune.training.means import mean_of_all
from plugtune.training.reference_numbers import WithReference, announce, reference_numbers

from plugtune_stage_kto.loss import kl_estimate, kto


def mismatched(count: int, block: int) -> list[int]:
    """For each of `count` rows the row whose answer it borrows: the one before it in its block, the last for the first.

    Blocks are as long as a batch (two rows at least; a single row at the end joins the block before it), so that in the
    order of the file a batch's borrowed answers are its own answers, as in trl.
    """
    block = max(block, 2)
    starts = list(range(0, count, block))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    order = []
    for start, end in zip(starts, [*starts[1:], count], strict=True):
        order += [end - 1, *range(start, end - 1)]
    return order


@dataclass(frozen=True, slots=True)
class WithBorrowed:
    """Rows with an answer to another prompt in the column `borrowed_ids`; cut so that the row stays within `cutoff`."""

    rows: Any
    order: list[int]
    cutoff: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        room = max(self.cutoff - len(row["prompt_ids"]), 1)
        return {**row, "borrowed_ids": self.rows[self.order[index]]["answer_ids"][:room]}


@dataclass(frozen=True, slots=True)
class FeedbackCollator:
    """A batch of B rows: `answers`, `borrowed` (see `AnswerBatcher`), `desirable` `(B,)` bool, `reference` `(B, 2)`."""

    batcher: AnswerBatcher

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            "answers": self.batcher([Group(row["prompt_ids"], (row["answer_ids"],)) for row in rows]),
            "borrowed": self.batcher([Group(row["prompt_ids"], (row["borrowed_ids"],)) for row in rows]),
            "desirable": torch.tensor([bool(row["desirable"][0]) for row in rows]),
            "reference": torch.tensor([row.get("reference", (0.0, 0.0)) for row in rows]),
        }


class FeedbackTrainer(JudgedTrainer):
    """KTO. The borrowed answers are fixed before training, so the reference answers for them once, too."""

    def __init__(self, context: TrainerContext) -> None:
        self.options = context.plan.stage_options
        super().__init__(context)
        announce(context)
        self.replace_rows(self._prepared)

    def count_trained(self, inputs: dict[str, Any]) -> Any:
        """Answer tokens of a batch; nothing is trained on borrowed ones."""
        return super().count_trained({"answers": inputs["answers"]})

    def collator(self, batcher: AnswerBatcher) -> FeedbackCollator:
        """Rows as groups of one answer."""
        return FeedbackCollator(batcher)

    def _prepared(self, rows: Any) -> Any:
        size = self.args.per_device_train_batch_size
        together = size * self.args.world_size  # rows that the processes take at a time
        borrowed = WithBorrowed(rows, mismatched(len(rows), together), self.context.plan.data.cutoff_len)
        return WithReference(borrowed, reference_numbers(self, borrowed, self._logps, "feedback 1", size))

    def _logps(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        return torch.stack([_answer_logps(model, batch["answers"]), _answer_logps(model, batch["borrowed"])], dim=1)

    def judge(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        """The loss of each row; good answers also have a supervised part where it was asked for."""
        with torch.no_grad():
            borrowed = _answer_logps(model, batch["borrowed"])
        logps = _answer_logps(model, batch["answers"])
        reference, other = batch["reference"].unbind(1)
        desirable, options = batch["desirable"], self.options
        kept = batch["labels"] != -100
        kl = kl_estimate(mean_of_all(borrowed - other, kept, self.accelerator))
        losses = kto(
            logps - reference, desirable, kl, beta=options.pref_beta, good=options.kto_chosen_weight,
            bad=options.kto_rejected_weight,
        )  # fmt: skip
        if options.pref_ftx:
            means = logps / batch["answers"]["answer_lengths"]
            losses = losses - torch.where(desirable, options.pref_ftx * means, 0.0)
        self._record(logps, reference, (desirable & kept, ~desirable & kept), kl)
        return losses

    def _record(
        self, logps: torch.Tensor, reference: torch.Tensor, split: tuple[torch.Tensor, torch.Tensor], kl: torch.Tensor
    ) -> None:
        rewards = self.options.pref_beta * (logps - reference).detach()
        good, bad = split
        self.record(
            rewards_chosen=rewards[good], rewards_rejected=rewards[bad], kl=kl, logps_chosen=logps[good],
            logps_rejected=logps[bad],
        )  # fmt: skip

    def derive(self, means: dict[str, float]) -> dict[str, float]:
        """The margin between the mean rewards of good and of bad answers, where both occurred."""
        if {"rewards/chosen", "rewards/rejected"} <= set(means):
            means["rewards/margins"] = means["rewards/chosen"] - means["rewards/rejected"]
        return means


def _answer_logps(model: Any, answers: dict[str, Any]) -> torch.Tensor:
    return answer_logps(token_logps(model, answers), answers["answer_lengths"])

"""Training on pairs: one row per pair, the policy's log-probabilities now and the reference's from before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from plugtune.training.answers import AnswerBatcher, Group, answer_logps, token_logps
from plugtune.training.checkpoint import write_whole
from plugtune.training.context import TrainerContext
from plugtune.training.judged import JudgedTrainer
from plugtune.training.means import mean_of_all
from plugtune.training.reference_numbers import WithReference, announce, reference_numbers

from plugtune_stage_dpo.losses import LOSSES, Pairs, Settings, bco, rewards

STATE = "preference_state.json"


@dataclass(frozen=True, slots=True)
class PairCollator:
    """A batch of B pairs: `answers` (see `AnswerBatcher`; chosen and rejected in turn) and `reference` `(B, 2)`."""

    batcher: AnswerBatcher

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        groups = [Group(row["prompt_ids"], (row["chosen_ids"], row["rejected_ids"])) for row in rows]
        reference = [row.get("reference", (0.0, 0.0)) for row in rows]
        return {"answers": self.batcher(groups), "reference": torch.tensor(reference)}


def pair_logps(tokens: torch.Tensor, lengths: torch.Tensor, ld_alpha: float | None) -> torch.Tensor:
    """Summed log-probabilities of pairs: `(K,)` of tokens and `(2B,)` lengths give `(B, 2)`.

    With `ld_alpha`, LD-DPO (arXiv:2409.06411): tokens beyond the length of the pair's shorter answer count α. Applied
    to policy and reference alike, as in the paper and in trl (LLaMA-Factory leaves the reference as it is).
    """
    if ld_alpha is None:
        return answer_logps(tokens, lengths).view(-1, 2)
    shorter = lengths.view(-1, 2).min(dim=1).values.repeat_interleave(2).tolist()
    sums = [
        part[:size].sum() + ld_alpha * part[size:].sum()
        for part, size in zip(tokens.split(lengths.tolist()), shorter, strict=True)
    ]
    return torch.stack(sums).view(-1, 2)


class PairTrainer(JudgedTrainer):
    """Trains on pairs with one of `losses.LOSSES`."""

    def __init__(self, context: TrainerContext, pref_loss: str) -> None:
        options = context.plan.stage_options
        names = {field.name for field in fields(Settings)} - {"pref_loss"}
        given = {name: getattr(options, name) for name in names if hasattr(options, name)}
        self.settings = Settings(pref_loss=pref_loss, **given)
        self.loss = LOSSES[pref_loss]
        self.ld_alpha: float | None = getattr(options, "ld_alpha", None)
        self.rewards_seen = [0.0, 0.0]
        super().__init__(context)
        if self.loss.reference:
            announce(context)
            self.replace_rows(self._with_reference)

    def collator(self, batcher: AnswerBatcher) -> PairCollator:
        """Pairs as groups of two answers."""
        return PairCollator(batcher)

    def _with_reference(self, rows: Any) -> Any:
        numbers = reference_numbers(
            self, rows, self._logps, f"pairs 1 {self.ld_alpha}", self.args.per_device_train_batch_size
        )
        return WithReference(rows, numbers)

    def _logps(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        answers = batch["answers"]
        return pair_logps(token_logps(model, answers), answers["answer_lengths"], self.ld_alpha)

    def judge(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        """The loss of each pair, with a BCO part and a supervised part where they were asked for."""
        lengths = batch["answers"]["answer_lengths"]
        tokens = token_logps(model, batch["answers"])
        logps = pair_logps(tokens, lengths, self.ld_alpha)
        means = answer_logps(tokens, lengths)[::2] / lengths[::2]
        chosen, rejected = logps.unbind(1)
        ref_chosen, ref_rejected = batch["reference"].unbind(1)
        pairs = Pairs(chosen, rejected, lengths[::2], lengths[1::2], means, ref_chosen, ref_rejected)
        kept = batch["labels"] != -100
        if self.loss.baselines:
            pairs = replace(
                pairs, chosen_mean_ratio=mean_of_all(pairs.chosen_ratio, kept, self.accelerator),
                rejected_mean_ratio=mean_of_all(pairs.rejected_ratio, kept, self.accelerator),
            )  # fmt: skip
        settings = self.settings
        losses = self.loss.value(pairs, settings)
        if settings.pref_bco_weight:
            weight = settings.pref_bco_weight
            losses = (losses + weight * bco(pairs, settings, self._shift(pairs, kept))) / (1 + weight)
        if settings.pref_ftx:
            losses = losses - settings.pref_ftx * pairs.chosen_mean
        self._record(pairs, kept)
        return losses

    def _shift(self, pairs: Pairs, kept: torch.Tensor) -> float:
        """δ of BCO: the mean of all rewards seen in training, those of this batch included."""
        if self.context.model.training:
            found = torch.cat([reward[kept] for reward in rewards(pairs, self.settings)])
            seen = torch.stack([found.sum(), torch.tensor(float(found.numel()), device=found.device)])
            total, count = self.accelerator.reduce(seen, "sum").tolist()
            self.rewards_seen[0] += total
            self.rewards_seen[1] += count
        return self.rewards_seen[0] / max(self.rewards_seen[1], 1)

    def _record(self, pairs: Pairs, kept: torch.Tensor) -> None:
        chosen, rejected = (reward[kept] for reward in rewards(pairs, self.settings))
        self.record(
            rewards_chosen=chosen, rewards_rejected=rejected, rewards_margins=chosen - rejected,
            rewards_accuracies=(chosen > rejected).float(), logps_chosen=pairs.chosen[kept],
            logps_rejected=pairs.rejected[kept],
        )  # fmt: skip

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.settings.pref_bco_weight and self.args.should_save:
            write_whole(Path(output_dir) / STATE, json.dumps({"rewards_seen": self.rewards_seen}).encode())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and (Path(checkpoint) / STATE).is_file():
            self.rewards_seen = json.loads((Path(checkpoint) / STATE).read_text(encoding="utf-8"))["rewards_seen"]

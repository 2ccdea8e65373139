"""Batched generation over plain token ids, for trainers: prompts in, answers with log-probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from plugtune.inference.batch import Batch, Finish, Limits, Row, complete
from plugtune.inference.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Rollout:
    """An answer.

    Attributes:
        ids: its tokens; a token that ended it is left out unless `keep_stop` was asked for.
        logprobs: log-probability of each token under the model, before temperature and the other settings.
        finish: `stop` or `length`.
    """

    ids: list[int]
    logprobs: list[float]
    finish: Finish


def rollout(
    model: Any, prompts: Sequence[Sequence[int]], sampling: Sampling, *, stop_ids: Sequence[int], pad_id: int,
    keep_stop: bool = False, limits: Limits | None = None,
) -> list[Rollout]:  # fmt: skip
    """Answers to prompts, computed together; the model's training mode is put back.

    With a seed, prompt number n is drawn with `seed + n`, so a run can be repeated. With `keep_stop` the token that
    ended an answer is its last token, as trainers want it that learn when to stop.
    """
    was_training = model.training
    model.eval()
    try:
        asked = replace(sampling, logprobs=sampling.logprobs or 0)
        rows = []
        for number, prompt in enumerate(prompts):
            seed = None if sampling.seed is None else sampling.seed + number
            kind = _KeepStop if keep_stop else Row
            rows.append(kind(list(prompt), replace(asked, seed=seed), frozenset(stop_ids)))
        complete(Batch(model, pad_id, limits), list(rows))
        return [Rollout(row.ids, row.logprobs, row.finish) for row in rows]
    finally:
        model.train(was_training)


class _KeepStop(Row):
    """A row that keeps the token that ends it."""

    def take(self, token: int) -> bool:
        """Add a token, the last one too."""
        self.ids.append(token)
        if token in self.stop_ids:
            self.finish = "stop"
        elif len(self.ids) >= self.sampling.max_new_tokens:
            self.finish = "length"
        return True

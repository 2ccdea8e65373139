"""Answers to prompts as batches, and the log-probability that a model gives to each of their tokens.

Two layouts that compute the same. Shared: one row in which each prompt stands once, followed by its answers, with no
padding and logits only where an answer is predicted. Padded: a row for each prompt + answer, the plain way to compare
with and the way for models whose attention cannot be shared. Knows nothing of losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from plugtune.training import attention
from plugtune.training.neftune import noisy_rows


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt and its answers, in token ids; none of them is empty."""

    prompt: list[int]
    answers: Sequence[list[int]]


@dataclass(frozen=True, slots=True)
class AnswerBatcher:
    """Lays groups out as model inputs.

    With N answers of K tokens altogether, in the order of the groups and of the answers inside each, a batch holds
    `targets` `(K,)` int64, the answers' tokens; `answer_lengths` `(N,)` int64; and

    - shared: `input_ids` and `position_ids` `(1, T)` int64, `shared_prompts` (the lengths of each group's parts) and
      `kept` `(K,)`, the position that predicts each target;
    - padded: `input_ids` and `attention_mask` `(N, longest)` int64, `rows` and `columns` `(K,)`, the place that
      predicts each target.
    """

    shared: bool
    pad_token_id: int = 0

    def __call__(self, groups: Sequence[Group]) -> dict[str, Any]:
        answers = [answer for group in groups for answer in group.answers]
        batch = {
            "targets": torch.tensor([token for answer in answers for token in answer]),
            "answer_lengths": torch.tensor([len(answer) for answer in answers]),
        }
        return batch | (_shared(groups) if self.shared else _padded(groups, self.pad_token_id))


def _shared(groups: Sequence[Group]) -> dict[str, Any]:
    ids: list[int] = []
    positions: list[int] = []
    kept: list[int] = []
    for group in groups:
        size = len(group.prompt)
        ids += group.prompt
        positions += range(size)
        last = len(ids) - 1  # the end of the prompt predicts the first token of each answer
        for answer in group.answers:
            kept += [last, *range(len(ids), len(ids) + len(answer) - 1)]
            ids += answer
            positions += range(size, size + len(answer))
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "kept": torch.tensor(kept),
        "shared_prompts": tuple((len(g.prompt), *map(len, g.answers)) for g in groups),
    }


def _padded(groups: Sequence[Group], pad: int) -> dict[str, Any]:
    parts = [(len(g.prompt), g.prompt + answer) for g in groups for answer in g.answers]
    shape = (len(parts), max(len(ids) for _, ids in parts))
    tokens, mask = torch.full(shape, pad), torch.zeros(shape, dtype=torch.long)
    rows: list[int] = []
    columns: list[int] = []
    for index, (prompt, ids) in enumerate(parts):
        tokens[index, : len(ids)] = torch.tensor(ids)
        mask[index, : len(ids)] = 1
        rows += [index] * (len(ids) - prompt)
        columns += range(prompt - 1, len(ids) - 1)
    return {
        "input_ids": tokens,
        "attention_mask": mask,
        "rows": torch.tensor(rows),
        "columns": torch.tensor(columns),
    }


def token_logps(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """log π(token | prompt, the answer so far) of all answer tokens: `(K,)` float32, answers one after another."""
    if "shared_prompts" in batch:
        with noisy_rows(batch), attention.segments():
            logits = model(
                input_ids=batch["input_ids"], position_ids=batch["position_ids"], logits_to_keep=batch["kept"],
                shared_prompts=batch["shared_prompts"], use_cache=False,
            ).logits[0]  # fmt: skip
    else:
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with noisy_rows(batch):
            logits = model(**inputs, use_cache=False).logits[batch["rows"], batch["columns"]]
    return -torch.nn.functional.cross_entropy(logits.float(), batch["targets"], reduction="none")


def answer_logps(logps: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """log π(answer | prompt): the sum over each answer's tokens; `(K,)` and `(N,)` give `(N,)`."""
    return torch.stack([part.sum() for part in logps.split(lengths.tolist())])


def real_tokens(batch: dict[str, Any]) -> int:
    """Tokens of a batch without padding."""
    mask = batch.get("attention_mask")
    return int(mask.sum()) if mask is not None else int(batch["input_ids"].numel())

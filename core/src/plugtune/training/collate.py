"""Batches: rows laid end to end without padding, or the plain padded way to compare with.

Rows are mappings with `input_ids` and `labels` (lists of int, -100 where not trained on) and, when several short rows
were packed into one, `lengths`: the length of each part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Any

import torch

IGNORE = -100


def _parts(row: Mapping[str, Any]) -> list[int]:
    return list(row.get("lengths") or [len(row["input_ids"])])


@dataclass(frozen=True, slots=True)
class EndToEndCollator:
    """One row of all tokens of the batch, with restarting positions and the bounds of its parts.

    The batch holds, with T tokens, K trained targets and S parts: `input_ids` and `position_ids` `(1, T)` int64;
    `cu_seq_lens_q`/`_k` `(S + 1,)` int32; `max_length_q`/`_k`; `logits_to_keep` `(K,)` int64, the positions whose next
    token is trained on; `labels` and `shift_labels` `(1, K)`, those next tokens.
    """

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        lengths = list(chain.from_iterable(_parts(row) for row in rows))
        tokens = torch.tensor(list(chain.from_iterable(row["input_ids"] for row in rows)), dtype=torch.long)
        labels = torch.tensor(list(chain.from_iterable(row["labels"] for row in rows)), dtype=torch.long)
        starts = [0, *accumulate(lengths)]
        labels[starts[:-1]] = IGNORE  # the first token of a part has nothing before it that could predict it
        targets = (labels != IGNORE).nonzero(as_tuple=True)[0]
        bounds = torch.tensor(starts, dtype=torch.int32)
        kept = labels[targets].unsqueeze(0)
        return {
            "input_ids": tokens.unsqueeze(0),
            "position_ids": torch.cat([torch.arange(n) for n in lengths]).unsqueeze(0),
            "cu_seq_lens_q": bounds,
            "cu_seq_lens_k": bounds,
            "max_length_q": max(lengths),
            "max_length_k": max(lengths),
            "logits_to_keep": targets - 1,
            "labels": kept,
            "shift_labels": kept,
        }


@dataclass(frozen=True, slots=True)
class PaddedCollator:
    """The plain way: right padding to the longest row, with an attention mask. Packed rows are taken apart again.

    The batch holds `input_ids`, `attention_mask` and `labels`, each `(rows, longest)` int64.
    """

    pad_token_id: int

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        parts = list(chain.from_iterable(_split(row) for row in rows))
        longest = max(len(ids) for ids, _ in parts)
        shape = (len(parts), longest)
        tokens = torch.full(shape, self.pad_token_id, dtype=torch.long)
        labels = torch.full(shape, IGNORE, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        for index, (ids, targets) in enumerate(parts):
            tokens[index, : len(ids)] = torch.tensor(ids)
            labels[index, : len(ids)] = torch.tensor(targets)
            mask[index, : len(ids)] = 1
        return {"input_ids": tokens, "attention_mask": mask, "labels": labels}


def _split(row: Mapping[str, Any]) -> list[tuple[list[int], list[int]]]:
    starts = [0, *accumulate(_parts(row))]
    ids, labels = row["input_ids"], row["labels"]
    return [(ids[a:b], labels[a:b]) for a, b in pairwise(starts)]

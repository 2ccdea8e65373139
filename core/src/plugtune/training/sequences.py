"""Lays token sequences out for one forward pass: end to end without padding, or padded the plain way.

Whoever needs values or logits at certain tokens addresses them in the flattened batch, the same way in both layouts:
token `j` of sequence `i` stands at `starts[i] + j` of `hidden.reshape(-1, size)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Layout:
    """A batch of sequences.

    Attributes:
        inputs: arguments of a model's forward: `input_ids` with `position_ids`, `cu_seq_lens_q`/`_k` and
            `max_length_q`/`_k` when laid end to end (`input_ids` is `(1, T)`), with `attention_mask` when padded
            (`(sequences, longest)`).
        starts: flat position of each sequence's first token.
    """

    inputs: dict[str, Any]
    starts: list[int]


def lay_out(sequences: Sequence[Sequence[int]], *, end_to_end: bool, pad: int = 0) -> Layout:
    """One batch of these sequences; none may be empty."""
    lengths = [len(sequence) for sequence in sequences]
    if end_to_end:
        starts = [0, *accumulate(lengths)]
        bounds = torch.tensor(starts, dtype=torch.int32)
        inputs = {
            "input_ids": torch.tensor(list(chain.from_iterable(sequences)), dtype=torch.long).unsqueeze(0),
            "position_ids": torch.cat([torch.arange(n) for n in lengths]).unsqueeze(0),
            "cu_seq_lens_q": bounds,
            "cu_seq_lens_k": bounds,
            "max_length_q": max(lengths),
            "max_length_k": max(lengths),
        }
        return Layout(inputs, starts[:-1])
    longest = max(lengths)
    tokens = torch.full((len(sequences), longest), pad, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for index, sequence in enumerate(sequences):
        tokens[index, : len(sequence)] = torch.tensor(list(sequence), dtype=torch.long)
        mask[index, : len(sequence)] = 1
    inputs = {"input_ids": tokens, "attention_mask": mask}
    return Layout(inputs, [index * longest for index in range(len(sequences))])


def answer_layout(
    prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], *, end_to_end: bool, pad: int = 0
) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor]:
    """Prompts with their answers in one batch.

    Returns:
        The model's inputs; the flat positions `(K,)` whose next token is an answer token; those answer tokens `(K,)`.
        K counts the answer tokens of all rows, row by row.
    """
    layout = lay_out(
        [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)], end_to_end=end_to_end, pad=pad
    )
    kept = [
        torch.arange(start + len(prompt) - 1, start + len(prompt) + len(answer) - 1)
        for start, prompt, answer in zip(layout.starts, prompts, answers, strict=True)
    ]
    targets = torch.tensor(list(chain.from_iterable(answers)), dtype=torch.long)
    return layout.inputs, torch.cat(kept), targets

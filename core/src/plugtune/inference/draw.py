"""Takes the next token of each row from its logits. Each row is drawn by itself, whatever else is in the batch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from plugtune.inference.sampling import Sampling

if TYPE_CHECKING:
    from plugtune.inference.batch import Row


def draw(logits: torch.Tensor, rows: Sequence[Row]) -> list[int]:
    """The next token of each row, from logits `(rows, vocabulary)`; remembers log-probabilities where asked for."""
    logits = logits.float()
    likeliest = logits.argmax(-1).tolist()
    tokens = []
    for index, row in enumerate(rows):
        if row.guide is not None:
            allowed = row.guide.allow(row.ids, logits[index])
            token = draw_one(allowed, row.sampling, row.prompt, row.ids, row.rng)
        elif row.sampling.plain:
            token = likeliest[index]
        else:
            token = draw_one(logits[index], row.sampling, row.prompt, row.ids, row.rng)
        if row.sampling.logprobs is not None:
            _remember(row, logits[index], token)
        tokens.append(token)
    return tokens


def draw_one(
    logits: torch.Tensor, sampling: Sampling, prompt: Sequence[int], answer: Sequence[int], rng: random.Random
) -> int:
    """One token from logits `(vocabulary,)`: penalties, temperature, top-k, top-p, in the order of transformers."""
    if sampling.changes_logits:
        logits = _changed(logits.clone(), sampling, prompt, answer)
    if sampling.temperature == 0:
        return int(logits.argmax())
    count = logits.shape[0]
    kept = min(sampling.top_k, count) if sampling.top_k > 0 else count
    if kept == count and sampling.top_p >= 1:
        values, places = logits, None
    else:
        values, places = logits.topk(kept)  # sorted, the likeliest first
    mass = torch.softmax(values.double() / sampling.temperature, -1)
    sums = mass.cumsum(-1)
    if sampling.top_p < 1:
        # The smallest set whose mass reaches top_p: a token stays while the mass before it is still below.
        size = max(int((sums - mass < sampling.top_p).sum()), 1)
        sums = sums[:size]
    # One number decides, so that a seed gives the same answer on every device.
    point = torch.tensor([rng.random() * float(sums[-1])], dtype=sums.dtype, device=sums.device)
    chosen = min(int(torch.searchsorted(sums, point, right=True)), sums.shape[0] - 1)
    return chosen if places is None else int(places[chosen])


def _changed(logits: torch.Tensor, s: Sampling, prompt: Sequence[int], answer: Sequence[int]) -> torch.Tensor:
    if s.repetition_penalty != 1.0:
        seen = torch.tensor(sorted({*prompt, *answer}), device=logits.device)
        values = logits[seen]
        logits[seen] = torch.where(values < 0, values * s.repetition_penalty, values / s.repetition_penalty)
    if answer and (s.presence_penalty or s.frequency_penalty):
        tokens, counts = torch.tensor(list(answer), device=logits.device).unique(return_counts=True)
        logits[tokens] -= s.presence_penalty + s.frequency_penalty * counts
    for token, bias in s.logit_bias.items():
        if 0 <= token < logits.shape[0]:
            logits[token] += bias
    return logits


def _remember(row: Row, logits: torch.Tensor, token: int) -> None:
    logs = torch.log_softmax(logits, -1)
    row.logprobs.append(float(logs[token]))
    count = min(row.sampling.logprobs or 0, logs.shape[0])
    values, places = logs.topk(count)
    row.top.append(list(zip(places.tolist(), values.tolist(), strict=True)))

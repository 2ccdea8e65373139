"""Measures sampled answers: token log-probabilities under a model, and values where it has a value head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from plugtune.modeling.value_head import HeadedModel
from plugtune.training import attention
from plugtune.training.online.logprobs import token_logprobs
from plugtune.training.reference import Reference
from plugtune.training.sequences import answer_layout

Tokens = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Measures:
    """Of each answer token of each row: `logprobs`, and `values` for models with a value head; 1-D fp32 on the CPU."""

    logprobs: list[torch.Tensor]
    values: list[torch.Tensor]


@torch.no_grad()
def measure(
    model: Any, prompts: Tokens, answers: Tokens, *, temperature: float, end_to_end: bool, pad: int, at_once: int
) -> Measures:
    """Log-probabilities (and values) of answer tokens; `at_once` rows in a pass."""
    measures = Measures([], [])
    device = next(model.parameters()).device
    for start in range(0, len(prompts), at_once):
        some = answers[start : start + at_once]
        inputs, kept, targets = answer_layout(prompts[start : start + at_once], some, end_to_end=end_to_end, pad=pad)
        inputs = {name: value.to(device) if torch.is_tensor(value) else value for name, value in inputs.items()}
        kept, targets = kept.to(device), targets.to(device)
        if isinstance(model, HeadedModel):
            seen = model(logits_at=kept, **inputs)
            logits = seen.logits
            measures.values.extend(seen.values.cpu().split([len(answer) for answer in some]))
        else:
            logits = kept_logits(model, inputs, kept)
        logprobs = token_logprobs(logits, targets, temperature)
        measures.logprobs.extend(logprobs.cpu().split([len(answer) for answer in some]))
    return measures


def kept_logits(model: Any, inputs: Mapping[str, Any], kept: torch.Tensor) -> torch.Tensor:
    """Logits `(K, vocabulary)` at flat positions of a layout; end to end, the head runs at these only."""
    one_row = "cu_seq_lens_q" in inputs
    with attention.segments() if one_row else nullcontext():
        logits = model(**inputs, use_cache=False, **({"logits_to_keep": kept} if one_row else {})).logits
    logits = logits.reshape(-1, logits.shape[-1])
    return logits if one_row else logits[kept]


def reference_logprobs(
    reference: Reference, prompts: Tokens, answers: Tokens, *, temperature: float, pad: int, at_once: int
) -> list[torch.Tensor]:
    """Log-probabilities of answer tokens under the reference."""
    with reference.scope():
        measures = measure(
            reference.model, prompts, answers, temperature=temperature, end_to_end=reference.end_to_end, pad=pad,
            at_once=at_once,
        )  # fmt: skip
    return measures.logprobs

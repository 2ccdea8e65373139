"""NEFTune (arXiv:2310.05914): noise on the embeddings of training passes, none anywhere else.

For a row of L tokens and embeddings of d numbers, each number gets uniform noise from ±alpha / sqrt(L · d). L is the
row's own length, also where rows are laid end to end or padded: the stock hook takes the width of the batch for it,
which in an end-to-end batch is that of all rows together and would make the noise too small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

_inputs: ContextVar[Mapping[str, Any] | None] = ContextVar("plugtune_neftune_inputs", default=None)


@contextmanager
def noisy_rows(inputs: Mapping[str, Any]) -> Iterator[None]:
    """While it lasts, a pass over these model inputs runs: they say how long the rows are."""
    token = _inputs.set(inputs)
    try:
        yield
    finally:
        _inputs.reset(token)


def add_noise(model: Any, alpha: float) -> Any:
    """Let a model's embeddings be noisy in training passes; returns the handle that removes it.

    Args:
        model: a language model, with adapters or a value head or without.
        alpha: the paper's α, 5 to 15 there.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model

    def hook(module: torch.nn.Module, _: Any, embedded: torch.Tensor) -> torch.Tensor:
        if not module.training or not torch.is_grad_enabled():
            return embedded
        lengths = row_lengths(_inputs.get() or {}, embedded.shape[1]).to(embedded.device)
        size = alpha / (lengths * embedded.shape[-1]).sqrt()
        return embedded + torch.empty_like(embedded).uniform_(-1, 1) * size.unsqueeze(-1).to(embedded.dtype)

    return base.get_input_embeddings().register_forward_hook(hook)


def row_lengths(inputs: Mapping[str, Any], width: int) -> torch.Tensor:
    """For each token the length of its row, fp32 `(1, T)`, `(B, 1)` or `(1, 1)` as it spreads over a batch.

    A prompt that several answers share counts as long as it is with the longest of them.
    """
    if "shared_prompts" in inputs:
        lengths = [
            length
            for prompt, *answers in inputs["shared_prompts"]
            for length in [prompt + max(answers)] * prompt + [prompt + size for size in answers for _ in range(size)]
        ]
        return torch.tensor([lengths], dtype=torch.float32)
    if "cu_seq_lens_q" in inputs:
        sizes = inputs["cu_seq_lens_q"].diff().long()
        return sizes.repeat_interleave(sizes).float().unsqueeze(0)
    if "attention_mask" in inputs:
        lengths_of_rows: torch.Tensor = inputs["attention_mask"].sum(1, keepdim=True)
        return lengths_of_rows.float()
    return torch.full((1, 1), float(width))

"""Attention over rows laid end to end: each row attends to itself only, and no T × T mask is ever made.

A batch is one row of T tokens with `cu_seq_lens_q` (int32, shape `(rows + 1,)`, cumulative lengths starting at 0). The
attention function runs the stock scaled-dot-product attention once per segment, so the cost grows with the sum of the
squares of the lengths instead of the square of their sum. Registered under the name `plugtune_segments` with the
interfaces of transformers (`AttentionInterface`, `AttentionMaskInterface`); calls without segments fall through to the
stock functions, so generation and padded evaluation are untouched.

Several answers to one prompt may share it: with `shared_prompts` the row holds, group by group, a prompt and its
answers one after another, positions restarting after the prompt with each answer. Every answer attends to the prompt
and to itself, as if each prompt + answer were a row of its own, and the prompt is computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from itertools import chain
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from plugtune.modeling.alike import shortened
from plugtune.modeling.zero import layer_by_layer, shape_of
from plugtune.training import varlen
from plugtune.training.row_attention import row_attention, usable

NAME = "plugtune_segments"

Groups = tuple[tuple[int, ...], ...]
"""For each group the length of its prompt and of each of its answers; a plain row is a prompt without answers."""

_in_segments: ContextVar[bool] = ContextVar("plugtune_in_segments", default=False)


def segment_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor | None = None,
    shared_prompts: Groups | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Stock attention for each segment. `query` is `(1, heads, T, size)`; the answer is `(1, T, heads, size)`.

    A module whose scores have biases of their own (ALiBi) says them: `position_bias(queries, keys, device, dtype)`
    gives `(1, heads, queries, keys)`, the causal mask included.
    """
    groups = shared_prompts
    if groups is None:
        if cu_seq_lens_q is None or attention_mask is not None or query.shape[0] != 1:
            return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        if _plain(module, kwargs):
            answer = varlen.attention(
                query, key, value, cu_seq_lens_q, kwargs.get("max_length_q"), kwargs.get("scaling"),
                _window(module, kwargs),
            )  # fmt: skip
            if answer is not None:
                return answer, None
        groups = tuple((length,) for length in (cu_seq_lens_q[1:] - cu_seq_lens_q[:-1]).tolist())
    lengths = _plain_rows(module, query, key, value, groups, kwargs)
    if lengths:
        with _exact_on_cpu(query):
            return row_attention(query, key, value, lengths, kwargs.get("scaling")), None
    dtype = query.dtype
    with _exact_on_cpu(query):
        if query.device.type == "cpu":
            query, key, value = query.float(), key.float(), value.float()
        return _grouped_attention(module, query, key, value, groups, **kwargs).to(dtype), None


def _plain_rows(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    groups: Groups,
    kwargs: Mapping[str, Any],
) -> tuple[int, ...] | None:
    """Lengths of rows that are causal and nothing else: no answers that share a prompt, no window, bias or dropout."""
    window = _window(module, kwargs)
    plain = (
        all(len(group) == 1 for group in groups)
        and _plain(module, kwargs)
        and not (window and max(group[0] for group in groups) > window)
        and usable(query, key, value)
    )
    return tuple(group[0] for group in groups) if plain else None


def _window(module: torch.nn.Module, kwargs: Mapping[str, Any]) -> int | None:
    window: int | None = kwargs.get("sliding_window") or getattr(module, "sliding_window", None)
    return window


def _plain(module: torch.nn.Module, kwargs: Mapping[str, Any]) -> bool:
    """Whether attention is causal, with a window or without one, and nothing else: no dropout, caps or biases."""
    causal = kwargs.get("is_causal")
    return bool(
        not kwargs.get("dropout")
        and (getattr(module, "is_causal", True) if causal is None else causal)
        and not any(kwargs.get(name) is not None for name in ("softcap", "position_bias", "s_aux"))
        and getattr(module, "position_bias", None) is None
    )


def _exact_on_cpu(query: torch.Tensor) -> AbstractContextManager[Any]:
    """On a CPU the kernel's backward pass takes twice the time in bf16 that it takes in fp32 (measured, torch 2.13)."""
    return torch.autocast("cpu", enabled=False) if query.device.type == "cpu" else nullcontext()


def _grouped_attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, groups: Groups, **kwargs: Any
) -> torch.Tensor:
    """A prompt and its first answer are a plain causal row; each further answer attends to the prompt and to itself."""
    lengths = [size for prompt, *answers in groups for size in (prompt + sum(answers[:1]), *answers[1:])]
    parts = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    outputs = []
    for prompt, *answers in groups:
        q, k, v = next(parts)
        mask = _row_mask(module, q, kwargs.get("sliding_window"))
        outputs.append(sdpa_attention_forward(module, q, k, v, mask, **kwargs)[0])
        for _ in answers[1:]:
            answer_q, answer_k, answer_v = next(parts)
            keys = torch.cat([k[:, :, :prompt], answer_k], 2)
            values = torch.cat([v[:, :, :prompt], answer_v], 2)
            mask = _answer_mask(module, prompt, answer_q, kwargs.get("sliding_window"))
            outputs.append(sdpa_attention_forward(module, answer_q, keys, values, mask, **kwargs)[0])
    return torch.cat(outputs, dim=1)


def _answer_mask(module: torch.nn.Module, prompt: int, query: torch.Tensor, sliding_window: int | None) -> torch.Tensor:
    """What each token of an answer sees of the prompt and of the answer: `(1, 1, answer, prompt + answer)` bool."""
    answer, device = query.shape[2], query.device
    position_bias: Any = getattr(module, "position_bias", None)
    if position_bias is not None:
        return position_bias(answer, prompt + answer, device, query.dtype)
    window = sliding_window if sliding_window is not None else getattr(module, "sliding_window", None)
    position = torch.arange(prompt + answer, device=device)
    distance = position[prompt:, None] - position[None, :]
    seen = distance >= 0
    if window:
        seen &= distance < window
    return seen[None, None]


def _row_mask(module: torch.nn.Module, query: torch.Tensor, sliding_window: int | None) -> torch.Tensor | None:
    """What a row's attention needs besides being causal: the module's biases, or its window."""
    length, device = query.shape[2], query.device
    position_bias: Any = getattr(module, "position_bias", None)
    if position_bias is not None:
        return position_bias(length, length, device, query.dtype)
    window = sliding_window if sliding_window is not None else getattr(module, "sliding_window", None)
    if not window or length <= window:
        return None
    position = torch.arange(length, device=device)
    distance = position[:, None] - position[None, :]
    return ((distance >= 0) & (distance < window))[None, None]


def _segment_mask(*args: Any, **kwargs: Any) -> torch.Tensor | None:
    return None if _in_segments.get() else sdpa_mask(*args, **kwargs)


@contextmanager
def segments() -> Iterator[None]:
    """While a forward pass over segments runs, no attention mask is made for it."""
    token = _in_segments.set(True)
    try:
        yield
    finally:
        _in_segments.reset(token)


def register() -> None:
    """Make the name known to transformers; may be called again."""
    AttentionInterface.register(NAME, segment_attention)
    AttentionMaskInterface.register(NAME, _segment_mask)


def enable(model: Any) -> bool:
    """Switch a model from stock attention to segments, if that computes the same; says whether it did.

    The model is asked, not its name: two short rows are computed apart and end to end, and the switch is kept only if
    their logits agree. Models whose layers ignore the segments (recurrent state, attention of their own) stay as they
    were.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = base.config._attn_implementation
    if before == NAME:
        return True
    if before.startswith("flash_attention"):  # takes the bounds of rows as it is
        return _asked(base, _rows_are_independent)
    if before != "sdpa":
        return False
    register()
    try:
        base.set_attn_implementation(NAME)
    except (TypeError, ValueError, RuntimeError, KeyError, NotImplementedError, AttributeError):
        same = False
    else:
        same = _asked(base, _rows_are_independent)
    if not same:
        base.set_attn_implementation(before)
    return same


def shares_prompts(model: Any) -> bool:
    """Whether a model that `enable` switched also computes answers that share their prompt as rows by themselves.

    Asked like `enable` does: a prompt with three answers is computed answer by answer and in one row.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if base.config._attn_implementation != NAME:
        return False
    return _asked(base, _answers_are_independent)


def _asked(model: Any, question: Callable[[Any], bool]) -> bool:
    """The answer of a model, of one layer of each kind where they are enough for a yes."""
    with shortened(model) as shorter:
        if shorter and _answer(model, question):
            return True
    return _answer(model, question)


def _answer(model: Any, question: Callable[[Any], bool]) -> bool:
    try:
        with layer_by_layer(model):
            return question(model)
    except (TypeError, ValueError, RuntimeError, KeyError, NotImplementedError, AttributeError):
        return False


@torch.no_grad()
def _answers_are_independent(model: Any) -> bool:
    was_training = model.training
    model.eval()
    try:
        device = next(model.parameters()).device
        vocabulary = shape_of(model.get_input_embeddings().weight)[0]
        prompt, answers = [7 % vocabulary, 3, 5, 2, 8 % vocabulary], [[4, 9 % vocabulary], [1, 6, 2], [3, 3]]
        size = len(prompt)
        apart = [
            model(input_ids=torch.tensor([prompt + answer], device=device), use_cache=False).logits[:, size:]
            for answer in answers
        ]
        joined = torch.tensor([[*prompt, *chain.from_iterable(answers)]], device=device)
        positions = [*range(size), *(size + i for answer in answers for i in range(len(answer)))]
        with segments():
            together = model(
                input_ids=joined, position_ids=torch.tensor([positions], device=device), use_cache=False,
                shared_prompts=((size, *map(len, answers)),),
            ).logits[:, size:]  # fmt: skip
        return _agree(torch.cat(apart, dim=1), together, next(model.parameters()).dtype)
    finally:
        model.train(was_training)


def _agree(apart: torch.Tensor, together: torch.Tensor, dtype: torch.dtype) -> bool:
    # Quantized and bf16 kernels round differently for other shapes; a leak between rows is far larger than that.
    apart, together = apart.float(), together.float()
    tolerance = 1e-4 if dtype == torch.float32 else 5e-2
    return bool((apart - together).abs().max() / apart.abs().max().clamp(min=1e-6) < tolerance)


@torch.no_grad()
def _rows_are_independent(model: Any) -> bool:
    was_training = model.training
    model.eval()
    try:
        device = next(model.parameters()).device
        vocabulary = shape_of(model.get_input_embeddings().weight)[0]
        rows = [
            torch.tensor([[7 % vocabulary, 3, 5, 2]], device=device),
            torch.tensor([[4, 9 % vocabulary, 1]], device=device),
        ]
        apart = torch.cat([model(input_ids=r, use_cache=False).logits for r in rows], dim=1)
        joined = torch.cat(rows, dim=1)
        positions = torch.tensor([[0, 1, 2, 3, 0, 1, 2]], device=device)
        bounds = torch.tensor([0, 4, 7], dtype=torch.int32, device=device)
        with segments():
            together = model(
                input_ids=joined, position_ids=positions, cu_seq_lens_q=bounds, cu_seq_lens_k=bounds,
                max_length_q=4, max_length_k=4, use_cache=False,
            ).logits  # fmt: skip
        return _agree(apart, together, next(model.parameters()).dtype)
    finally:
        model.train(was_training)

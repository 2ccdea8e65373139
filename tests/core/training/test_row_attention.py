"""Attention of rows laid end to end as one step: torch's own attention row by row, with less kept."""

from __future__ import annotations

import pytest
import torch
from plugtune.training.row_attention import row_attention, usable

LENGTHS = (5, 1, 9)
# As real models have it: with heads that end within a cache line, the kernel's last bit depends on which thread a head
# is given to.
SIZE = 64
Parts = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def parts(heads: int, key_heads: int, dtype: torch.dtype = torch.float32) -> Parts:
    """Laid out as a model hands them over: heads are cut from `(1, T, heads · size)`."""
    generator = torch.Generator().manual_seed(2)
    made = [
        torch.randn(1, sum(LENGTHS), count, SIZE, generator=generator).to(dtype).transpose(1, 2)
        for count in (heads, key_heads, key_heads)
    ]
    return made[0], made[1], made[2]


def leaves(some: Parts, dtype: torch.dtype | None = None) -> list[torch.Tensor]:
    return [part.detach().clone().to(dtype or part.dtype).requires_grad_() for part in some]


def by_torch(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float | None) -> torch.Tensor:
    """Each row by itself through `scaled_dot_product_attention`."""
    rows = zip(*(part.split(LENGTHS, 2) for part in (query, key, value)), strict=True)
    answers = [
        torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
        for q, k, v in rows
    ]
    return torch.cat(answers, 2).transpose(1, 2)


@pytest.mark.parametrize(("heads", "key_heads"), [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_answers_and_gradients_are_those_of_torch(heads: int, key_heads: int, scale: float | None) -> None:
    some = parts(heads, key_heads)
    mine, theirs = leaves(some), leaves(some)
    answer, truth = row_attention(*mine, LENGTHS, scale), by_torch(*theirs, scale)
    assert torch.equal(answer, truth)
    dy = torch.randn(truth.shape, generator=torch.Generator().manual_seed(4))
    answer.backward(dy)
    truth.backward(dy)
    for one, two in zip(mine, theirs, strict=True):
        assert torch.allclose(one.grad, two.grad, rtol=1e-5, atol=1e-6)


def test_in_16_bits_gradients_are_about_as_near_to_the_true_ones() -> None:
    some = parts(6, 2, torch.bfloat16)
    mine, theirs, exact = leaves(some), leaves(some), leaves(some, torch.float64)
    dy = torch.randn(1, sum(LENGTHS), 6, SIZE, generator=torch.Generator().manual_seed(4))
    answer = row_attention(*mine, LENGTHS, None)
    assert answer.dtype == torch.bfloat16
    answer.backward(dy.bfloat16())
    by_torch(*(part.float() for part in theirs), None).bfloat16().backward(dy.bfloat16())
    by_torch(*exact, None).backward(dy.bfloat16().double())
    for one, two, truth in zip(mine, theirs, exact, strict=True):
        assert (one.grad - truth.grad).norm() < 1.5 * (two.grad - truth.grad).norm()


def test_queries_keys_values_and_the_answer_are_all_that_is_kept() -> None:
    some = leaves(parts(6, 2, torch.bfloat16))
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        row_attention(some[0], some[1], some[2], LENGTHS, None)
    tokens = sum(LENGTHS)
    assert sum(kept.values()) <= tokens * SIZE * 2 * (6 + 2 + 2 + 6) + tokens * 6 * 4


def test_what_the_kernel_does_not_take_is_left_to_the_stock_path() -> None:
    query, key, value = parts(4, 2)
    assert usable(query, key, value)
    assert not usable(query, key, value[..., :4])
    assert not usable(query[:, :3], key, value)
    assert not usable(query.to("meta"), key.to("meta"), value.to("meta"))

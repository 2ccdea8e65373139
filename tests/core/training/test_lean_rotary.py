"""The lean rotary embedding against transformers' own function: answers and gradients in double precision."""

from __future__ import annotations

import types

import pytest
import torch
from plugtune.training.lean import rotary
from torch import nn
from transformers.models.glm import modeling_glm
from transformers.models.llama import modeling_llama


def own(module: types.ModuleType):
    """The module's own function, whoever has replaced it before."""
    found = module.apply_rotary_pos_emb
    return found.own if isinstance(found, rotary.LeanRotary) else found


def inputs(dtype: torch.dtype, angles: torch.dtype, computed: torch.dtype | None = None):
    """Values of a dtype, computed in another one or in their own."""
    torch.manual_seed(0)
    q, k = (torch.randn(2, 7, heads, 16).to(dtype).to(computed or dtype).transpose(1, 2) for heads in (6, 2))
    theta = torch.randn(2, 7, 16)
    cos, sin = (angle.to(angles).to(computed or angles) for angle in (theta.cos(), theta.sin()))
    return q.requires_grad_(), k.requires_grad_(), cos, sin


def results(function, dtype, angles, computed=None):
    q, k, cos, sin = inputs(dtype, angles, computed)
    answers = function(q, k, cos, sin)
    weights = [torch.linspace(-1, 1, a.numel()).view(a.shape).to(a.dtype) for a in answers]
    sum((a * w).sum() for a, w in zip(answers, weights, strict=True)).backward()
    return [*(a.detach() for a in answers), q.grad, k.grad]


@pytest.mark.parametrize(
    ("dtype", "angles", "tolerance"),
    [
        (torch.float64, torch.float64, 1e-12),
        (torch.float32, torch.float32, 1e-6),
        (torch.bfloat16, torch.float32, 5e-3),
        (torch.bfloat16, torch.bfloat16, 1e-2),
    ],
)
def test_answers_and_gradients_are_those_of_transformers(dtype, angles, tolerance):
    stock = own(modeling_llama)
    truth = results(stock, dtype, angles, computed=torch.float64)
    for lean, theirs, true in zip(
        results(rotary.LeanRotary(stock), dtype, angles), results(stock, dtype, angles), truth, strict=True
    ):
        assert lean.dtype == theirs.dtype
        error, largest = (lean.double() - true).abs(), true.abs().max()
        assert error.max() <= tolerance * largest
        assert error.mean() <= (theirs.double() - true).abs().mean() + 1e-7 * largest


@pytest.fixture
def place(monkeypatch):
    """A Python module with a function of that name, and a part that comes from it."""
    module = types.ModuleType("plugtune_test_rotary")
    monkeypatch.setitem(__import__("sys").modules, module.__name__, module)
    module.Part = type("Part", (nn.Module,), {"__module__": module.__name__})
    return module


def test_a_function_that_rotates_so_is_replaced_once(place):
    place.apply_rotary_pos_emb = stock = own(modeling_llama)
    rotary.enable(place.Part())
    rotary.enable(place.Part())
    assert place.apply_rotary_pos_emb.own is stock


def test_one_that_rotates_otherwise_is_not(place):
    place.apply_rotary_pos_emb = stock = own(modeling_glm)  # pairs of neighbours, half of the head
    rotary.enable(place.Part())
    assert place.apply_rotary_pos_emb is stock


def test_without_gradients_the_own_function_answers(place):
    seen = []

    def counted(*args):
        seen.append(args)
        return own(modeling_llama)(*args)

    place.apply_rotary_pos_emb = counted
    rotary.enable(place.Part())
    seen.clear()
    q, k, cos, sin = inputs(torch.float32, torch.float32)
    place.apply_rotary_pos_emb(q, k, cos, sin)
    assert not seen
    with torch.no_grad():
        place.apply_rotary_pos_emb(q, k, cos, sin)
    assert len(seen) == 1

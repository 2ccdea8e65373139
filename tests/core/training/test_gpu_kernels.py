"""Kernels of other packages: what they are given, what is made of their answers, and that a wrong one is not used.

No GPU is needed: a stand-in in plain PyTorch with the interface of each package is installed where the real one would be.
"""

from __future__ import annotations

import copy
import sys
import types
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from plugtune.training import attention, fused_head, varlen
from plugtune.training.collate import EndToEndCollator
from plugtune.training.deferred_head import defer_head, deferred
from plugtune.training.trials import Kernel
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

CPU = torch.device("cpu")
SIZES = {"vocab_size": 101, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}  # fmt: skip
ROWS = [[5, 9, 2, 77, 31, 8, 4, 60], [3, 3, 50], [90, 1, 7, 12, 44]]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This processor counts as a device that the kernels are for, in fp32."""
    for module in (varlen, fused_head):
        monkeypatch.setattr(module, "DEVICES", ("cpu",))
        monkeypatch.setattr(module, "DTYPES", (torch.float32,))
    caches = (varlen.choice, fused_head.choose)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def flash_attn_varlen_func(
    q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, max_seqlen_q: int, max_seqlen_k: int,
    dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
) -> torch.Tensor:  # fmt: skip
    """flash-attn's interface, computed by `scaled_dot_product_attention`: `(T, heads, size)`."""
    lengths = (cu_seqlens_q[1:] - cu_seqlens_q[:-1]).tolist()
    assert causal
    assert not dropout_p
    assert cu_seqlens_q.dtype == torch.int32
    assert max_seqlen_q == max_seqlen_k == max(lengths)
    assert torch.equal(cu_seqlens_q, cu_seqlens_k)
    rows = []
    for parts in zip(*(part.split(lengths) for part in (q, k, v)), strict=True):
        one, two, three = (part.transpose(0, 1)[None] for part in parts)
        seen = torch.ones(one.shape[2], one.shape[2], dtype=torch.bool).tril()
        if window_size[0] >= 0:
            seen = seen.triu(-window_size[0])
        answer = torch.nn.functional.scaled_dot_product_attention(
            one, two, three, seen, scale=softmax_scale, enable_gqa=True
        )
        rows.append(answer[0].transpose(0, 1))
    return torch.cat(rows)


def installed(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = types.ModuleType(name)
    vars(module).update(members)
    module.__spec__ = types.SimpleNamespace(name=name)  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, name, module)


def with_flash_attn(monkeypatch: pytest.MonkeyPatch, function: Any) -> None:
    installed(monkeypatch, "flash_attn", flash_attn_varlen_func=function)
    monkeypatch.setattr("transformers.utils.is_flash_attn_2_available", lambda: True)


@pytest.mark.parametrize("config", [LlamaConfig(**SIZES), MistralConfig(**SIZES, sliding_window=3)])
def test_a_model_learns_the_same_with_all_rows_in_one_call(monkeypatch, config):
    calls = []
    with_flash_attn(monkeypatch, lambda *args, **named: calls.append(1) or flash_attn_varlen_func(*args, **named))
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    model = copy.deepcopy(plain)
    assert attention.enable(model)
    assert varlen.choice(CPU).kernel.name == "flash-attn"
    apart = torch.cat([plain(input_ids=torch.tensor([row]), use_cache=False).logits for row in ROWS], 1)
    batch = EndToEndCollator()([{"input_ids": row, "labels": row} for row in ROWS])
    batch = {k: v for k, v in batch.items() if k not in ("labels", "shift_labels", "logits_to_keep")}
    calls.clear()
    with attention.segments():
        together = model(**batch, use_cache=False).logits
    assert len(calls) == 2, "a call a layer"
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)
    apart.square().sum().backward()
    together.square().sum().backward()
    for one, two in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-4)


def leaks(*args: Any, **named: Any) -> torch.Tensor:
    """Lets rows see each other."""
    q, k, v, bounds, *_ = args
    whole = torch.tensor([0, int(bounds[-1])], dtype=torch.int32)
    return flash_attn_varlen_func(q, k, v, whole, whole, int(bounds[-1]), int(bounds[-1]), **named)


def no_window(*args: Any, window_size: Any = None, **named: Any) -> torch.Tensor:
    return flash_attn_varlen_func(*args, **named)


def no_gradient(*args: Any, **named: Any) -> torch.Tensor:
    return 0 * args[0] + flash_attn_varlen_func(*args, **named).detach()


def broken(*args: Any, **named: Any) -> torch.Tensor:
    raise RuntimeError("no kernel image is available for execution on the device")


@pytest.mark.parametrize("function", [leaks, no_window, no_gradient, broken])
def test_a_wrong_attention_kernel_is_not_used(monkeypatch, function):
    with_flash_attn(monkeypatch, function)
    monkeypatch.setattr(varlen, "_torch", lambda: None)
    assert varlen.choice(CPU).kernel is None
    parts = [torch.randn(1, heads, 8, 16) for heads in (4, 2, 2)]
    assert varlen.attention(*parts, torch.tensor([0, 8], dtype=torch.int32), 8, None, None) is None


def test_torchs_own_kernel_is_tried_when_the_package_is_wrong(monkeypatch):
    with_flash_attn(monkeypatch, broken)

    def right(q: Any, k: Any, v: Any, bounds: Any, longest: int, scale: Any, window: int | None) -> torch.Tensor:
        seen = (window - 1, 0) if window else (-1, -1)
        return flash_attn_varlen_func(
            q, k, v, bounds, bounds, longest, longest, softmax_scale=scale, causal=True, window_size=seen
        )

    monkeypatch.setattr(varlen, "_torch", lambda: right)
    choice = varlen.choice(CPU)
    assert choice.kernel.run is right
    (why,) = choice.refused
    assert "flash-attn is not used" in why
    assert "no kernel image" in why


def test_torchs_varlen_attn_is_called_as_it_is_declared(monkeypatch):
    """Its signature is real; only its kernel, which needs a GPU, is a stand-in."""
    import inspect

    from torch.nn.attention import varlen as torchs

    declared = inspect.signature(torchs.varlen_attn)

    def stand_in(*args: Any, **named: Any) -> torch.Tensor:
        given = declared.bind(*args, **named).arguments
        assert given["enable_gqa"]
        left, right = given["window_size"]
        assert right == 0
        return flash_attn_varlen_func(
            given["query"], given["key"], given["value"], given["cu_seq_q"], given["cu_seq_k"], given["max_q"],
            given["max_k"], softmax_scale=given["scale"], causal=True, window_size=(left, right),
        )  # fmt: skip

    monkeypatch.setattr(torchs, "varlen_attn", stand_in)
    assert varlen.choice(CPU).kernel.name == "torch's varlen_attn"


class LigerFusedLinearCrossEntropyLoss(torch.nn.Module):
    """Liger's interface, computed by `cross_entropy`."""

    def __init__(self, ignore_index: int, label_smoothing: float, reduction: str, accum_dtype: Any) -> None:
        super().__init__()
        self.settings = {"ignore_index": ignore_index, "label_smoothing": label_smoothing, "reduction": reduction}

    def forward(self, lin_weight: Any, _input: Any, target: Any, bias: Any = None) -> torch.Tensor:
        logits = torch.nn.functional.linear(_input, lin_weight, bias)
        return torch.nn.functional.cross_entropy(logits, target, **self.settings)


def linear_cross_entropy(e: Any, c: Any, targets: Any, ignore_index: int, reduction: str, filter_eps: Any) -> Any:
    """cut-cross-entropy's interface."""
    assert filter_eps is None, "its filter leaves out gradients"
    return torch.nn.functional.cross_entropy(e @ c.t(), targets, ignore_index=ignore_index, reduction=reduction)


def with_liger(monkeypatch: pytest.MonkeyPatch, loss: Any = LigerFusedLinearCrossEntropyLoss) -> None:
    installed(monkeypatch, "liger_kernel")
    installed(monkeypatch, "liger_kernel.transformers", LigerFusedLinearCrossEntropyLoss=loss)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("package", ["Liger", "cut-cross-entropy"])
def test_a_model_learns_the_same_with_a_fused_head(monkeypatch, package, smoothing):
    if package == "Liger":
        with_liger(monkeypatch)
    else:
        installed(monkeypatch, "cut_cross_entropy", linear_cross_entropy=linear_cross_entropy)
    used: list[Kernel | None] = []

    def choose(head: torch.nn.Linear) -> Kernel | None:
        used.append(fused_head.choose(CPU, torch.float32, head.in_features, head.bias is not None, smoothing).kernel)
        return used[-1]

    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES), dtype=torch.float32)
    model = copy.deepcopy(plain)
    assert attention.enable(model)
    assert attention.enable(plain)
    assert defer_head(model, smoothing, choose)
    assert defer_head(plain, smoothing)
    if package == "cut-cross-entropy" and smoothing:
        assert used == [None], "it does not smooth"
        return
    assert used[0] is not None
    assert used[0].name == package
    batch = EndToEndCollator()([{"input_ids": row, "labels": [-100, -100, *row[2:]]} for row in ROWS])
    losses = []
    for one in (model, plain):
        with attention.segments(), deferred():
            losses.append(one(**batch, use_cache=False, num_items_in_batch=torch.tensor(7)).loss)
        losses[-1].backward()
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)
    for one, two in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-6)


class Means(LigerFusedLinearCrossEntropyLoss):
    def forward(self, lin_weight: Any, _input: Any, target: Any, bias: Any = None) -> torch.Tensor:
        return super().forward(lin_weight, _input, target, bias) / len(target)


class Fails(LigerFusedLinearCrossEntropyLoss):
    def forward(self, lin_weight: Any, _input: Any, target: Any, bias: Any = None) -> torch.Tensor:
        raise AssertionError("triton is not there")


class ForgetsTheHead(LigerFusedLinearCrossEntropyLoss):
    def forward(self, lin_weight: Any, _input: Any, target: Any, bias: Any = None) -> torch.Tensor:
        return super().forward(lin_weight.detach(), _input, target, bias) + 0 * lin_weight.sum()


@pytest.mark.parametrize("loss", [Means, Fails, ForgetsTheHead])
def test_a_wrong_fused_head_is_not_used(monkeypatch, loss):
    with_liger(monkeypatch, loss)
    monkeypatch.setattr(fused_head, "_cut_cross_entropy", lambda: None)
    choice = fused_head.choose(CPU, torch.float32, 32, False, 0.0)
    assert choice.kernel is None
    (why,) = choice.refused
    assert why.startswith("Liger is not used: it fails on cpu (AssertionError: triton" if loss is Fails else
                          "Liger is not used: its numbers are not those")  # fmt: skip


def test_nothing_is_tried_on_a_processor(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(fused_head, "first_right", partial(pytest.fail, "tried"))
    monkeypatch.setattr(varlen, "first_right", partial(pytest.fail, "tried"))
    assert fused_head.choose(CPU, torch.bfloat16, 32, False, 0.0).kernel is None
    parts = [torch.randn(1, heads, 8, 16, dtype=torch.bfloat16) for heads in (4, 2, 2)]
    assert varlen.attention(*parts, torch.tensor([0, 8], dtype=torch.int32), 8, None, None) is None

"""The head in chunks gives the loss and the gradients of the plain computation, and never holds all logits."""

from __future__ import annotations

import copy

import pytest
import torch
from plugtune.training import attention, cross_entropy, products
from plugtune.training.collate import EndToEndCollator
from plugtune.training.cross_entropy import head_cross_entropy
from plugtune.training.deferred_head import defer_head, deferred
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig

SIZES = {"vocab_size": 101, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}  # fmt: skip


def by_onednn(monkeypatch, tmp_path, at_a_time):
    """As on an AMD processor: oneDNN is given a part of the words at a time, however small."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("vendor_id\t: AuthenticAMD\n", encoding="utf-8")
    for name, value in (("CPUINFO", cpuinfo), ("WORTH_IT", 1), ("AT_A_TIME", at_a_time)):
        monkeypatch.setattr(products, name, value)
    products._onednn.cache_clear()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("block", [1, 7 * 101, 2**24])
@pytest.mark.parametrize("words_at_a_time", [None, 30, 101])
def test_chunks_equal_the_textbook_in_double_precision(
    monkeypatch, tmp_path, words_at_a_time, block, with_bias, smoothing
):
    monkeypatch.setattr(cross_entropy, "BLOCK", block)
    if words_at_a_time is not None:
        by_onednn(monkeypatch, tmp_path, words_at_a_time * 16)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(23, 16, generator=generator, requires_grad=True)
    weight = torch.randn(101, 16, generator=generator, requires_grad=True)
    bias = torch.randn(101, generator=generator, requires_grad=True) if with_bias else None
    targets = torch.randint(0, 101, (23,), generator=generator)
    leaves = [x for x in (hidden, weight, bias) if x is not None]
    exact = [x.detach().double().requires_grad_() for x in leaves]
    logits = torch.nn.functional.linear(exact[0], exact[1], exact[2] if with_bias else None)
    expected = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum") / 50
    found = head_cross_entropy(hidden, weight, bias, targets, torch.tensor(50.0), smoothing)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    wanted = torch.autograd.grad(expected * 3, exact)
    for gradient, right in zip(torch.autograd.grad(found * 3, leaves), wanted, strict=True):
        torch.testing.assert_close(gradient.double(), right, rtol=1e-5, atol=1e-6)


def test_a_frozen_head_costs_no_gradient_of_its_size():
    weight = torch.randn(101, 16)
    hidden = torch.randn(5, 16, requires_grad=True)
    head_cross_entropy(hidden, weight, None, torch.tensor([1, 2, 3, 4, 5]), torch.tensor(5.0)).backward()
    assert weight.grad is None
    assert hidden.grad is not None


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_with_its_head_deferred_learns_the_same(tied):
    torch.manual_seed(0)
    plain = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES, tie_word_embeddings=tied), dtype=torch.float32)
    model = copy.deepcopy(plain)
    assert attention.enable(model)
    assert defer_head(model)
    ids = torch.randint(1, 101, (15,)).tolist()
    row = {"input_ids": ids, "labels": [-100] * 6 + ids[6:]}
    expected = plain(input_ids=torch.tensor([ids]), labels=torch.tensor([row["labels"]]), use_cache=False).loss
    expected.backward()
    with attention.segments(), deferred():
        found = model(**EndToEndCollator()([row]), use_cache=False, num_items_in_batch=torch.tensor(9)).loss
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for (name, right), (_, given) in zip(plain.named_parameters(), model.named_parameters(), strict=True):
        torch.testing.assert_close(given.grad, right.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_outside_a_deferred_pass_the_model_is_as_it_was():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES)).eval()
    ids = torch.tensor([[5, 6, 7]])
    before = model(input_ids=ids, labels=ids)
    assert defer_head(model)
    after = model(input_ids=ids, labels=ids)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.loss, after.loss)


def test_a_model_that_caps_its_logits_keeps_its_own_way():
    config = Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=0.05)
    model = AutoModelForCausalLM.from_config(config).eval()
    ids = torch.tensor([[5, 6, 7]])
    before = model(input_ids=ids).logits
    assert not defer_head(model)
    with deferred():
        assert torch.equal(model(input_ids=ids).logits, before)


def test_an_adapter_on_the_head_keeps_its_own_way():
    from peft import LoraConfig, get_peft_model

    model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES, tie_word_embeddings=False))
    adapted = get_peft_model(model, LoraConfig(target_modules=["lm_head"], task_type="CAUSAL_LM"))
    assert not defer_head(adapted)


def test_a_copy_of_a_model_with_a_deferred_head_computes_with_its_own_head() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
                         num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False)  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    assert defer_head(model)
    copied = copy.deepcopy(model)
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        kept = copied(input_ids=ids).logits
        model.lm_head.weight.zero_()
        assert torch.equal(copied(input_ids=ids).logits, kept)

"""Answers that share their prompt get the log-probabilities and gradients of prompt + answer computed row by row."""

from __future__ import annotations

import copy

import pytest
import torch
from plugtune.training import attention
from plugtune.training.answers import AnswerBatcher, Group, answer_logps, real_tokens, token_logps
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    GemmaConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

SIZES = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
CONFIGS = {
    "llama": LlamaConfig(**SIZES),
    "llama with tied embeddings": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES, head_dim=8),
    "mistral with a window": MistralConfig(**SIZES, sliding_window=6),
    "gemma": GemmaConfig(**SIZES, head_dim=8),
}


def groups() -> list[Group]:
    generator = torch.Generator().manual_seed(1)

    def ids(length: int) -> list[int]:
        return torch.randint(1, 101, (length,), generator=generator).tolist()

    return [Group(ids(9), (ids(4), ids(7))), Group(ids(1), (ids(12), ids(1))), Group(ids(14), (ids(2), ids(3), ids(5)))]


def by_hand(model) -> torch.Tensor:
    """The textbook: every prompt + answer by itself, all logits. Uses no batch of ours."""
    sums = []
    for group in groups():
        for answer in group.answers:
            ids = torch.tensor([group.prompt + answer])
            logps = model(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1)
            sums.append(logps.gather(1, ids[0, 1:, None])[len(group.prompt) - 1 :].sum())
    return torch.stack(sums)


def gradients(model, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def weighted(logps: torch.Tensor) -> torch.Tensor:
    """A loss that treats every answer differently, so that a mix-up between answers shows."""
    return (torch.linspace(-1, 1.5, len(logps)) * logps).tanh().sum() + (logps * torch.arange(len(logps))).mean() / 50


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_shared_and_padded_answers_equal_answers_by_themselves(name, checkpointing):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[name]), dtype=torch.float32).train()
    expected = by_hand(model)
    wanted = gradients(model, weighted(expected))
    assert attention.enable(model)
    assert attention.shares_prompts(model), "this model computes answers independently"
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    for shared in (True, False):
        batch = AnswerBatcher(shared)(groups())
        found = answer_logps(token_logps(model, batch), batch["answer_lengths"])
        assert (found - expected).abs().max() < 1e-4, "sums over up to 12 tokens of logits of order 1"
        got = gradients(model, weighted(found))
        largest = max(g.abs().max() for g in wanted.values())
        for key, gradient in wanted.items():
            assert (gradient - got[key]).abs().max() / largest < 1e-4, (shared, key)


def test_a_shared_batch_holds_each_token_once():
    assert real_tokens(AnswerBatcher(True)(groups())) == sum(
        len(group.prompt) + sum(map(len, group.answers)) for group in groups()
    )
    assert real_tokens(AnswerBatcher(False)(groups())) == sum(
        len(group.prompt) + len(answer) for group in groups() for answer in group.answers
    )


@pytest.mark.parametrize(
    "config",
    [
        BloomConfig(vocab_size=101, hidden_size=32, n_layer=2, n_head=4),
        MambaConfig(vocab_size=101, hidden_size=32, num_hidden_layers=2, state_size=4),
    ],
    ids=["bloom", "mamba"],
)
def test_a_model_that_would_mix_answers_is_noticed(config):
    model = AutoModelForCausalLM.from_config(config)
    assert not (attention.enable(model) and attention.shares_prompts(model))


def test_a_model_that_ignores_the_layout_is_noticed(monkeypatch):
    """The question asked at the start catches an attention that drops the layout on the way."""
    model = AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS["llama"]), dtype=torch.float32)
    assert attention.enable(model)
    monkeypatch.setattr(
        attention,
        "_grouped_attention",
        lambda m, q, k, v, groups, **kw: attention.sdpa_attention_forward(m, q, k, v, None, **kw)[0],
    )
    assert not attention.shares_prompts(model)

"""Prompts are walked through evenly, buffers are handed out whole, and a saved stream goes on where it stood."""

from __future__ import annotations

import pytest
import torch
from plugtune.training.online.logprobs import token_entropies, token_logprobs
from plugtune.training.online.stream import BufferPlan, ExperienceStream, prompt_numbers


def stream() -> ExperienceStream:
    def make(number: int) -> list[dict[str, torch.Tensor]]:
        return [{"ids": torch.arange(i + 1) + 100 * number, "value": torch.tensor([i / 3 + number])} for i in range(6)]

    return ExperienceStream(BufferPlan(6, 2, 2, seed=1), make, lambda rows: {"rows": [r["ids"].tolist() for r in rows]})


def test_every_row_of_a_buffer_is_given_once_in_each_pass():
    batches = iter(stream())
    for number in range(2):
        for _ in range(2):
            given = sorted(tuple(ids) for _ in range(3) for ids in next(batches)["rows"])
            assert given == [tuple(n + 100 * number for n in range(i + 1)) for i in range(6)]


@pytest.mark.parametrize("taken", [0, 1, 5, 6, 7])
def test_a_saved_stream_goes_on_where_it_stood(tmp_path, taken):
    first = stream()
    batches = iter(first)
    for _ in range(taken):
        next(batches)
    first.save(tmp_path, "rollouts-0")
    rest = [next(batches) for _ in range(9)]
    second = stream()
    second.load(tmp_path, "rollouts-0")
    again = iter(second)
    assert [next(again) for _ in range(9)] == rest


def test_prompts_are_seen_once_in_each_epoch_and_shared_among_processes():
    walked = [n for start in range(0, 20, 4) for n in prompt_numbers(start, 4, 10, 7, shuffle=True)]
    assert sorted(walked[:10]) == sorted(walked[10:]) == list(range(10))
    assert walked[:10] != walked[10:]
    assert prompt_numbers(8, 4, 10, 7, shuffle=False) == [8, 9, 0, 1]


def test_logprobs_and_entropies_are_those_of_a_softmax_at_the_temperature():
    torch.manual_seed(0)
    logits, targets = torch.randn(5, 11), torch.tensor([0, 10, 3, 3, 7])
    expected = torch.distributions.Categorical(logits=logits / 0.7)
    torch.testing.assert_close(token_logprobs(logits, targets, 0.7), expected.log_prob(targets))
    torch.testing.assert_close(token_entropies(logits, 0.7), expected.entropy())

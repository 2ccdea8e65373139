"""Each part of PPO against numbers worked out by hand or a plain loop over the paper's formula."""

from __future__ import annotations

import math

import pytest
import torch
from plugtune_stage_ppo.advantages import advantages_of, whiten
from plugtune_stage_ppo.kl import KlController, token_rewards
from plugtune_stage_ppo.losses import approximate_kl, policy_losses, value_losses
from plugtune_stage_ppo.scores import RunningScores, clipped


def test_the_score_comes_with_the_last_token_and_each_token_pays_for_its_kl():
    rewards, kl = token_rewards(torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.5, -1.0, -0.5]), 3.0, 0.2)
    assert rewards.tolist() == pytest.approx([-0.1, 0.2, 3.0])
    assert kl.item() == pytest.approx(-0.5)


def test_the_kl_weight_is_steered_to_its_target():
    controller = KlController(beta=0.2, target=6.0, horizon=100)
    controller.update(6.6, 10)  # error 0.1 → 0.2 · (1 + 0.1 · 10 / 100)
    assert controller.beta == pytest.approx(0.2 * 1.01)
    controller.update(600.0, 10)  # errors are bounded by 0.2
    assert controller.beta == pytest.approx(0.2 * 1.01 * 1.02)
    controller.update(0.0, 10)
    assert controller.beta == pytest.approx(0.2 * 1.01 * 1.02 * 0.98)
    fixed = KlController(0.2, 6.0, 100, adaptive=False)
    fixed.update(600.0, 10)
    assert fixed.beta == 0.2


def test_advantages_by_hand():
    # V = 1, 2, 3; r = 0, 0, 5; gamma 0.9, lambda 0.5
    # delta_3 = 5 - 3 = 2; delta_2 = 0.9·3 - 2 = 0.7; delta_1 = 0.9·2 - 1 = 0.8
    # A_3 = 2; A_2 = 0.7 + 0.45·2 = 1.6; A_1 = 0.8 + 0.45·1.6 = 1.52
    advantages, returns = advantages_of(
        torch.tensor([0.0, 0.0, 5.0]), torch.tensor([1.0, 2.0, 3.0]), gamma=0.9, lam=0.5
    )
    assert advantages.tolist() == pytest.approx([1.52, 1.6, 2.0])
    assert returns.tolist() == pytest.approx([2.52, 3.6, 5.0])


def test_advantages_with_lambda_one_are_the_discounted_rewards_less_the_value():
    torch.manual_seed(0)
    rewards, values = torch.randn(7), torch.randn(7)
    advantages, _ = advantages_of(rewards, values, gamma=0.97, lam=1.0)
    sums = [sum(0.97 ** (k - t) * rewards[k].item() for k in range(t, 7)) for t in range(7)]
    assert advantages.tolist() == pytest.approx([s - v for s, v in zip(sums, values.tolist(), strict=True)], abs=1e-5)


def test_whitening_gives_mean_zero_or_keeps_it():
    rows = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 6.0])]
    white = torch.cat(whiten(rows))
    deviation = math.sqrt(((1 - 3) ** 2 + (2 - 3) ** 2 + 0 + (6 - 3) ** 2) / 4)
    assert white.tolist() == pytest.approx([-2 / deviation, -1 / deviation, 0, 3 / deviation], abs=1e-5)
    assert torch.cat(whiten(rows, keep_mean=True)).mean().item() == pytest.approx(3.0)
    assert [len(row) for row in whiten(rows)] == [2, 2]


def test_the_policy_loss_is_clipped_only_where_that_makes_it_worse():
    new = torch.log(torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1]))
    old = torch.zeros(5)
    losses, cut = policy_losses(new, old, torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0]), 0.2)
    assert losses.tolist() == pytest.approx([-1.2, 1.5, -0.5, 0.8, -2.2])
    assert cut.tolist() == [1, 0, 0, 1, 0]


def test_the_value_loss_takes_the_worse_of_plain_and_clipped():
    losses = value_losses(torch.tensor([1.0, 0.1]), torch.tensor([0.0, 0.0]), torch.tensor([1.0, 1.0]), 0.2)
    assert losses.tolist() == pytest.approx([0.5 * 0.8**2, 0.5 * 0.9**2])


def test_the_kl_estimate_agrees_with_the_exact_kl():
    torch.manual_seed(0)
    old, new = torch.randn(6).log_softmax(0), torch.randn(6).log_softmax(0)
    exact = (old.exp() * (old - new)).sum()
    assert (old.exp() * approximate_kl(new, old)).sum().item() == pytest.approx(exact.item(), abs=1e-6)


def test_running_scores_have_the_mean_and_deviation_of_all_seen():
    torch.manual_seed(0)
    parts = [torch.randn(n) * 3 + 7 for n in (4, 1, 9)]
    running = RunningScores()
    for part in parts:
        running.update(part)
    everything = torch.cat(parts)
    assert running.mean == pytest.approx(everything.mean().item(), abs=1e-5)
    assert running.deviation == pytest.approx(everything.std().item(), abs=1e-5)
    assert running.normalise(everything).std().item() == pytest.approx(1, abs=1e-4)
    assert clipped(torch.tensor([-3.0, 0.5, 9.0]), 1.0).tolist() == [-1.0, 0.5, 1.0]

"""Each preference loss is what its paper says: against formulas written out in plain Python, pair by pair."""

from __future__ import annotations

import math

import pytest
import torch
from plugtune_stage_dpo.losses import LOSSES, Pairs, Settings, bco, rewards
from plugtune_stage_dpo.trainer import pair_logps
from plugtune_stage_kto.loss import kl_estimate, kto
from plugtune_stage_kto.trainer import mismatched

W, L = [-12.0, -30.5, -4.25], [-15.0, -28.0, -9.5]
RW, RL = [-13.0, -30.0, -6.0], [-14.5, -29.5, -8.0]
NW, NL = [6, 10, 3], [5, 14, 4]
BETA = 0.3


def pairs(**changes) -> Pairs:
    values = {
        "chosen": W,
        "rejected": L,
        "chosen_length": NW,
        "rejected_length": NL,
        "ref_chosen": RW,
        "ref_rejected": RL,
    }
    values |= {"chosen_mean": [w / n for w, n in zip(W, NW, strict=True)]}
    return Pairs(**{name: torch.tensor(value) for name, value in (values | changes).items()})


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def sigmoid(i):
    return -math.log(sigma(BETA * ((W[i] - RW[i]) - (L[i] - RL[i]))))


def hinge(i):
    return max(0.0, 1 - BETA * ((W[i] - RW[i]) - (L[i] - RL[i])))


def ipo(i):
    return ((W[i] - RW[i]) / NW[i] - (L[i] - RL[i]) / NL[i] - 1 / (2 * BETA)) ** 2


def kto_pair(i):
    z_w = max(0.0, sum(a - b for a, b in zip(W, RW, strict=True)) / 3)
    z_l = max(0.0, sum(a - b for a, b in zip(L, RL, strict=True)) / 3)
    return (1 - sigma(BETA * (W[i] - RW[i] - z_l)) + 1 - sigma(BETA * (z_w - (L[i] - RL[i])))) / 2


def orpo(i):
    p_w, p_l = math.exp(W[i] / NW[i]), math.exp(L[i] / NL[i])
    return -math.log(p_w) - BETA * math.log(sigma(math.log((p_w / (1 - p_w)) / (p_l / (1 - p_l)))))


def simpo(i):
    return -math.log(sigma(BETA / NW[i] * W[i] - BETA / NL[i] * L[i] - 0.7))


HAND = {"sigmoid": sigmoid, "hinge": hinge, "ipo": ipo, "kto_pair": kto_pair, "orpo": orpo, "simpo": simpo}


@pytest.mark.parametrize("name", HAND)
def test_a_loss_is_its_formula(name):
    settings = Settings(pref_loss=name, pref_beta=BETA, simpo_gamma=0.7)
    found = LOSSES[name].value(pairs(), settings).tolist()
    assert found == pytest.approx([HAND[name](i) for i in range(3)], rel=1e-5)


def test_every_loss_is_tested_and_no_two_are_the_same():
    assert set(LOSSES) == set(HAND)
    values = [tuple(round(HAND[name](i), 4) for i in range(3)) for name in HAND]
    assert len(set(values)) == len(values)


def test_label_smoothing_mixes_in_the_turned_pair():
    settings = Settings(pref_beta=BETA, dpo_label_smoothing=0.2)
    turned = [-math.log(1 - math.exp(-sigmoid(i))) for i in range(3)]
    expected = [0.8 * sigmoid(i) + 0.2 * turned[i] for i in range(3)]
    assert LOSSES["sigmoid"].value(pairs(), settings).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_kl_terms_of_kto_pair_carry_no_gradient():
    chosen = torch.tensor([-1.0, -2.0], requires_grad=True)
    zeros = torch.zeros(2)
    one = Pairs(chosen, zeros - 50, zeros + 1, zeros + 1, chosen, zeros - 9, zeros)
    LOSSES["kto_pair"].value(one, Settings(pref_beta=BETA)).sum().backward()
    ratio = chosen.detach() + 9
    slope = torch.sigmoid(BETA * ratio) * (1 - torch.sigmoid(BETA * ratio))
    assert torch.allclose(chosen.grad, -BETA * slope / 2)


def test_bco_is_its_formula():
    delta = 0.05
    expected = [
        -math.log(sigma(BETA * (W[i] - RW[i]) - delta)) - math.log(sigma(-(BETA * (L[i] - RL[i]) - delta)))
        for i in range(3)
    ]
    assert bco(pairs(), Settings(pref_beta=BETA), delta).tolist() == pytest.approx(expected, rel=1e-5)


def test_rewards_are_ratios_or_averages():
    chosen, rejected = rewards(pairs(), Settings(pref_beta=BETA))
    assert chosen.tolist() == pytest.approx([BETA * (a - b) for a, b in zip(W, RW, strict=True)], rel=1e-5)
    zeros = {"ref_chosen": [0.0] * 3, "ref_rejected": [0.0] * 3}
    _, rejected = rewards(pairs(**zeros), Settings(pref_loss="simpo", pref_beta=BETA))
    assert rejected.tolist() == pytest.approx([BETA * a / n for a, n in zip(L, NL, strict=True)], rel=1e-5)


def test_orpo_stays_finite_for_a_certain_answer():
    certain = pairs(chosen=[-1e-9, -0.0, -1e-3])
    assert torch.isfinite(LOSSES["orpo"].value(certain, Settings(pref_loss="orpo"))).all()


def test_ld_alpha_discounts_the_tokens_beyond_the_shorter_answer():
    tokens = torch.tensor([-1.0, -2.0, -4.0, -8.0, -16.0])  # a chosen answer of 2 tokens and a rejected one of 3
    lengths = torch.tensor([2, 3])
    assert pair_logps(tokens, lengths, None).tolist() == [[-3.0, -28.0]]
    assert pair_logps(tokens, lengths, 0.25).tolist() == [[-3.0, -4.0 - 8.0 - 0.25 * 16.0]]


def test_kto_is_its_formula():
    ratio, good = torch.tensor([0.4, -0.3, 0.1]), torch.tensor([True, False, False])
    z = max(0.0, (0.5 - 0.1 + 0.2) / 3)
    assert float(kl_estimate(torch.tensor([0.5, -0.1, 0.2]))) == pytest.approx(z)
    assert float(kl_estimate(torch.tensor([-0.5, -0.1]))) == 0.0
    expected = [
        2.0 * (1 - sigma(BETA * (0.4 - z))),
        1.5 * (1 - sigma(BETA * (z + 0.3))),
        1.5 * (1 - sigma(BETA * (z - 0.1))),
    ]
    assert kto(ratio, good, torch.tensor(z), beta=BETA, good=2.0, bad=1.5).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("count", "block"), [(8, 4), (7, 1), (9, 4), (5, 3), (2, 8)])
def test_every_row_borrows_the_answer_of_another_row_and_each_answer_once(count, block):
    order = mismatched(count, block)
    assert sorted(order) == list(range(count))
    assert all(row != other for row, other in enumerate(order))


def test_a_batch_in_file_order_borrows_its_own_answers():
    assert mismatched(8, 4) == [3, 0, 1, 2, 7, 4, 5, 6]

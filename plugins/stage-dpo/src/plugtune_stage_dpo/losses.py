"""The losses over pairs of answers, each as its paper has it. Pure functions of log-probabilities; no model here.

Notation: w is the chosen and l the rejected answer, π the policy, ρ the reference, |y| the number of tokens of y,
σ the logistic function; r = log π(y|x) − log ρ(y|x). `beta` and the other numbers are those of `Settings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers of a preference stage, under the names of its options."""

    pref_loss: str = "sigmoid"
    pref_beta: float = 0.1
    pref_ftx: float = 0.0
    pref_bco_weight: float = 0.0
    dpo_label_smoothing: float = 0.0
    simpo_gamma: float = 0.5


@dataclass(frozen=True, slots=True)
class Pairs:
    """B pairs; every tensor is `(B,)`.

    Attributes:
        chosen, rejected: log π of the answers, summed over their tokens.
        chosen_length, rejected_length: tokens of the answers.
        chosen_mean: log π of the chosen answer, averaged over its tokens.
        ref_chosen, ref_rejected: log ρ, summed; zeros where the loss has no reference.
        chosen_mean_ratio, rejected_mean_ratio: scalars, the mean r of the chosen and of the rejected answers of the
            batch (of all processes), without gradient, for losses that have `baselines`.
    """

    chosen: torch.Tensor
    rejected: torch.Tensor
    chosen_length: torch.Tensor
    rejected_length: torch.Tensor
    chosen_mean: torch.Tensor
    ref_chosen: torch.Tensor
    ref_rejected: torch.Tensor
    chosen_mean_ratio: torch.Tensor | None = None
    rejected_mean_ratio: torch.Tensor | None = None

    @property
    def chosen_ratio(self) -> torch.Tensor:
        """r of the chosen answers."""
        return self.chosen - self.ref_chosen

    @property
    def rejected_ratio(self) -> torch.Tensor:
        """r of the rejected answers."""
        return self.rejected - self.ref_rejected


def sigmoid(pairs: Pairs, settings: Settings) -> torch.Tensor:
    """DPO (arXiv:2305.18290, eq. 7): −log σ(β(r_w − r_l)).

    With label smoothing ε, conservative DPO: −(1 − ε) log σ(β(r_w − r_l)) − ε log σ(−β(r_w − r_l)).
    """
    delta = settings.pref_beta * (pairs.chosen_ratio - pairs.rejected_ratio)
    smoothing = settings.dpo_label_smoothing
    return -(1 - smoothing) * logsigmoid(delta) - smoothing * logsigmoid(-delta)


def hinge(pairs: Pairs, settings: Settings) -> torch.Tensor:
    """The hinge of SLiC-HF (arXiv:2305.10425) on DPO's rewards (RSO, arXiv:2309.06657): max(0, 1 − β(r_w − r_l))."""
    return torch.relu(1 - settings.pref_beta * (pairs.chosen_ratio - pairs.rejected_ratio))


def ipo(pairs: Pairs, settings: Settings) -> torch.Tensor:
    """IPO (arXiv:2310.12036, eq. 17): (r_w/|w| − r_l/|l| − 1/(2β))².

    The paper writes sums over tokens; its authors' experiments average, as trl does, so that β does not depend on the
    length of answers.
    """
    chosen = pairs.chosen_ratio / pairs.chosen_length
    rejected = pairs.rejected_ratio / pairs.rejected_length
    return (chosen - rejected - 1 / (2 * settings.pref_beta)) ** 2


def kto_pair(pairs: Pairs, settings: Settings) -> torch.Tensor:
    """KTO on pairs (arXiv:2402.01306, section 4): ½(1 − σ(β(r_w − z_l))) + ½(1 − σ(β(z_w − r_l))).

    z_l and z_w estimate the KL term from the other half of the batch: max(0, mean r of the rejected, of the chosen
    answers), through which no gradient flows.
    """
    z_chosen = _mean(pairs.chosen_mean_ratio, pairs.chosen_ratio).clamp(min=0)
    z_rejected = _mean(pairs.rejected_mean_ratio, pairs.rejected_ratio).clamp(min=0)
    good = 1 - torch.sigmoid(settings.pref_beta * (pairs.chosen_ratio - z_rejected))
    bad = 1 - torch.sigmoid(settings.pref_beta * (z_chosen - pairs.rejected_ratio))
    return (good + bad) / 2


def _mean(given: torch.Tensor | None, ratios: torch.Tensor) -> torch.Tensor:
    """The mean that the trainer took over all processes, or that of these pairs."""
    return ratios.mean().detach() if given is None else given


def orpo(pairs: Pairs, settings: Settings) -> torch.Tensor:
    """ORPO (arXiv:2403.07691, eq. 6 and 7): −log p_w − β log σ(log(odds_w / odds_l)), odds = p / (1 − p).

    log p is the average log-probability of an answer's tokens. The supervised term is taken on the answer, as in the
    paper and in LLaMA-Factory (trl takes it on prompt and answer).
    """
    chosen, rejected = pairs.chosen / pairs.chosen_length, pairs.rejected / pairs.rejected_length
    log_odds = (chosen - rejected) - (_log1mexp(chosen) - _log1mexp(rejected))
    return -chosen - settings.pref_beta * logsigmoid(log_odds)


def _log1mexp(value: torch.Tensor) -> torch.Tensor:
    """log(1 − exp(value)) for value < 0, exact near 0 and bounded at 0."""
    return torch.log(-torch.expm1(value.clamp(max=-1e-7)))


def simpo(pairs: Pairs, settings: Settings) -> torch.Tensor:
    """SimPO (arXiv:2405.14734, eq. 6): −log σ(β/|w| log π(w|x) − β/|l| log π(l|x) − γ)."""
    chosen, rejected = pairs.chosen / pairs.chosen_length, pairs.rejected / pairs.rejected_length
    return -logsigmoid(settings.pref_beta * (chosen - rejected) - settings.simpo_gamma)


def bco(pairs: Pairs, settings: Settings, shift: torch.Tensor | float) -> torch.Tensor:
    """BCO (arXiv:2404.04656): −log σ(βr_w − δ) − log σ(−(βr_l − δ)), δ the running mean of all rewards."""
    beta = settings.pref_beta
    return -logsigmoid(beta * pairs.chosen_ratio - shift) - logsigmoid(-(beta * pairs.rejected_ratio - shift))


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss; whether it compares with a reference, whether its rewards are averages over tokens, and whether it wants
    the batch's mean ratios."""

    value: Callable[[Pairs, Settings], torch.Tensor]
    reference: bool = True
    average: bool = False
    baselines: bool = False


LOSSES: dict[str, Loss] = {
    "sigmoid": Loss(sigmoid),
    "hinge": Loss(hinge),
    "ipo": Loss(ipo),
    "kto_pair": Loss(kto_pair, baselines=True),
    "orpo": Loss(orpo, reference=False, average=True),
    "simpo": Loss(simpo, reference=False, average=True),
}


def rewards(pairs: Pairs, settings: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """The implicit rewards of chosen and rejected answers: β r, or β times the average log-probability."""
    chosen, rejected = pairs.chosen_ratio, pairs.rejected_ratio
    if LOSSES[settings.pref_loss].average:
        chosen, rejected = chosen / pairs.chosen_length, rejected / pairs.rejected_length
    return settings.pref_beta * chosen.detach(), settings.pref_beta * rejected.detach()

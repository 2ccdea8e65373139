"""Preference stages: their options and where their code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune

LOSSES = ("sigmoid", "hinge", "ipo", "kto_pair", "orpo", "simpo")


@dataclass
class SimpoOptions:
    """SimPO by itself: no reference model."""

    pref_beta: float = plugtune.option(0.1, help="Scale of the reward (the paper uses 2 to 10).", minimum=0)
    simpo_gamma: float = plugtune.option(0.5, help="Margin by which the chosen answer must lead.", minimum=0)
    pref_ftx: float = plugtune.option(0.0, help="Weight of a supervised loss on the chosen answer.", minimum=0)


@dataclass
class OrpoOptions:
    """ORPO by itself: no reference model, supervised loss included."""

    pref_beta: float = plugtune.option(0.1, help="Weight of the odds-ratio term (lambda in the paper).", minimum=0)
    pref_ftx: float = plugtune.option(0.0, help="Weight of a further supervised loss on the chosen answer.", minimum=0)


@dataclass
class DpoOptions:
    """Direct preference optimization and its relatives, with LLaMA-Factory's names and defaults."""

    pref_loss: str = plugtune.option("sigmoid", help="The loss; sigmoid is DPO.", choices=LOSSES)
    pref_beta: float = plugtune.option(0.1, help="How strongly the policy is held to the reference.", minimum=0)
    pref_ftx: float = plugtune.option(0.0, help="Weight of a supervised loss on the chosen answer.", minimum=0)
    pref_bco_weight: float = plugtune.option(0.0, help="Weight of a BCO loss beside pref_loss.", minimum=0)
    dpo_label_smoothing: float = plugtune.option(
        0.0, help="Share of pairs taken to be labelled the wrong way round (sigmoid).", minimum=0, maximum=0.5
    )
    ld_alpha: float | None = plugtune.option(
        None, help="LD-DPO: weight of the tokens beyond the shorter answer's length.", minimum=0, maximum=1
    )
    simpo_gamma: float = plugtune.option(0.5, help="SimPO: margin by which the chosen answer must lead.", minimum=0)
    ref_model: str | None = plugtune.option(
        None, help="Reference model; the base under the adapter, or the starting weights, when left out."
    )
    ref_model_adapters: list[str] = plugtune.option([], help="Adapters of the reference model; a comma list.")
    ref_model_quantization_bit: int | None = plugtune.option(
        None, help="Bits of a quantized reference model.", choices=(4, 8)
    )


METRICS = ("rewards/accuracies", "rewards/margins")


def _stage(name: str, summary: str, options: type) -> plugtune.Stage:
    return plugtune.Stage(
        name=name,
        summary=summary,
        rows="preference",
        options=options,
        encoder="plugtune_stage_dpo.stage:make_encoder",
        trainer=f"plugtune_stage_dpo.stage:build_{name}",
        checks=f"plugtune_stage_dpo.checks:{name}",
        metrics=METRICS,
        sizes="plugtune_stage_dpo.sizes:sizes",
    )


@plugtune.hookimpl
def plugtune_stages() -> list[plugtune.Stage]:
    """The stages `dpo`, `orpo` and `simpo`."""
    return [
        _stage("dpo", "Preferences without a reward model: DPO, hinge, IPO, KTO-pair, ORPO, SimPO", DpoOptions),
        _stage("orpo", "Preferences and supervised learning in one, without a reference model", OrpoOptions),
        _stage("simpo", "Preferences by average log-probability, without a reference model", SimpoOptions),
    ]

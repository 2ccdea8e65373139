"""The PPO stage: its options and where its code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune
from plugtune.training.online.options import ScoringOptions


@dataclass
class PpoOptions(ScoringOptions):
    """PPO, with LLaMA-Factory's names and defaults; what it does not name has trl's old defaults."""

    ppo_buffer_size: int = plugtune.option(1, help="Optimizer steps' worth of answers sampled at a time.", minimum=1)
    ppo_epochs: int = plugtune.option(4, help="Passes over each buffer.", minimum=1)
    ppo_score_norm: bool = plugtune.option(False, help="Normalise scores by their running mean and deviation.")
    ppo_target: float = plugtune.option(6.0, help="KL to the reference per answer, in nats, that is steered to.")
    ppo_whiten_rewards: bool = plugtune.option(False, help="Scale token rewards to unit variance before advantages.")
    ppo_score_clip: float | None = plugtune.option(None, help="Bound of a score, after normalisation.", minimum=0)
    ppo_init_kl_coef: float = plugtune.option(0.2, help="Weight of the KL penalty at the start.", minimum=0)
    ppo_adaptive_kl: bool = plugtune.option(True, help="Steer the weight of the KL penalty to ppo_target.")
    ppo_kl_horizon: int = plugtune.option(10000, help="Answers over which the weight adapts.", minimum=1)
    ppo_gamma: float = plugtune.option(1.0, help="Discount of later rewards.", minimum=0, maximum=1)
    ppo_lambda: float = plugtune.option(0.95, help="Lambda of advantage estimation.", minimum=0, maximum=1)
    ppo_clip: float = plugtune.option(0.2, help="Clip range of probability ratios.", minimum=0)
    ppo_value_clip: float = plugtune.option(0.2, help="Clip range of value updates.", minimum=0)
    ppo_value_weight: float = plugtune.option(0.1, help="Weight of the value loss.", minimum=0)


@plugtune.hookimpl
def plugtune_stages() -> list[plugtune.Stage]:
    """The stage `ppo`."""
    return [
        plugtune.Stage(
            name="ppo",
            summary="Proximal policy optimisation: sampled answers, scored and reinforced under a KL penalty",
            rows="conversation",
            options=PpoOptions,
            encoder="plugtune_stage_ppo.stage:make_encoder",
            trainer="plugtune_stage_ppo.stage:build_trainer",
            checks="plugtune_stage_ppo.checks:checks",
            sizes="plugtune_stage_ppo.sizes:sizes",
            metrics=("reward", "kl", "policy_loss", "value_loss", "entropy", "response_length"),
        )
    ]

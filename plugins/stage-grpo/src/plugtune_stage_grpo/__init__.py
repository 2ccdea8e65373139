"""The GRPO stage: its options and where its code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune
from plugtune.training.online.options import ScoringOptions


@dataclass
class GrpoOptions(ScoringOptions):
    """GRPO, with trl's names and defaults."""

    reward_funcs: list[str] = plugtune.option([], help="Reward functions of your own, module:function; a comma list.")
    reward_weights: list[float] = plugtune.option(
        [], help="Weight of each reward function, then of the reward model; a comma list. All 1 when left out."
    )
    num_generations: int = plugtune.option(8, help="Answers to each prompt.", minimum=2)
    num_iterations: int = plugtune.option(1, help="Passes over each buffer of answers.", minimum=1)
    grpo_buffer_size: int = plugtune.option(1, help="Optimizer steps' worth of answers sampled at a time.", minimum=1)
    beta: float = plugtune.option(0.0, help="Weight of the KL to the reference; 0 keeps no reference.", minimum=0)
    epsilon: float = plugtune.option(0.2, help="Clip range of probability ratios.", minimum=0)
    epsilon_high: float | None = plugtune.option(None, help="Upper clip range; epsilon when left out.", minimum=0)
    scale_rewards: bool = plugtune.option(True, help="Divide advantages by the deviation of their group.")
    loss_type: str = plugtune.option(
        "dapo",
        help="grpo: mean over the tokens of each answer, then over answers; dapo: mean over all tokens of the step; "
        "dr_grpo: sum of tokens over answers times max_new_tokens.",
        choices=("grpo", "dapo", "dr_grpo"),
    )


@plugtune.hookimpl
def plugtune_stages() -> list[plugtune.Stage]:
    """The stage `grpo`."""
    return [
        plugtune.Stage(
            name="grpo",
            summary="Group-relative policy optimisation: answers to a prompt are scored against each other",
            rows="conversation",
            options=GrpoOptions,
            encoder="plugtune_stage_grpo.stage:make_encoder",
            trainer="plugtune_stage_grpo.stage:build_trainer",
            checks="plugtune_stage_grpo.checks:checks",
            sizes="plugtune_stage_grpo.sizes:sizes",
            metrics=("reward", "reward_std", "kl", "entropy", "response_length"),
        )
    ]

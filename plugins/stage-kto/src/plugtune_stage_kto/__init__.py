"""The feedback stage: its options and where its code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune


@dataclass
class KtoOptions:
    """Kahneman-Tversky optimization, with LLaMA-Factory's names and defaults."""

    pref_beta: float = plugtune.option(0.1, help="How strongly the policy is held to the reference.", minimum=0)
    pref_ftx: float = plugtune.option(0.0, help="Weight of a supervised loss on good answers.", minimum=0)
    kto_chosen_weight: float = plugtune.option(1.0, help="Weight of good answers.", minimum=0)
    kto_rejected_weight: float = plugtune.option(1.0, help="Weight of bad answers.", minimum=0)
    ref_model: str | None = plugtune.option(
        None, help="Reference model; the base under the adapter, or the starting weights, when left out."
    )
    ref_model_adapters: list[str] = plugtune.option([], help="Adapters of the reference model; a comma list.")
    ref_model_quantization_bit: int | None = plugtune.option(
        None, help="Bits of a quantized reference model.", choices=(4, 8)
    )


@plugtune.hookimpl
def plugtune_stages() -> list[plugtune.Stage]:
    """The stage `kto`."""
    return [
        plugtune.Stage(
            name="kto",
            summary="Answers judged good or bad, one by one: Kahneman-Tversky optimization",
            rows="feedback",
            options=KtoOptions,
            encoder="plugtune_stage_kto.stage:make_encoder",
            trainer="plugtune_stage_kto.stage:build_trainer",
            checks="plugtune_stage_kto.checks:checks",
            metrics=("rewards/margins", "kl"),
            sizes="plugtune_stage_kto.sizes:sizes",
        )
    ]

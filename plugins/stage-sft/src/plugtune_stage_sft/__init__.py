"""The supervised fine-tuning stage: what it eats and where its code is. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune


@dataclass
class SftOptions:
    """Losses beyond cross-entropy, with LLaMA-Factory's names."""

    use_dft_loss: bool = plugtune.option(
        False, help="Dynamic fine-tuning: each token's loss is weighed by its own probability."
    )


@plugtune.hookimpl
def plugtune_stages() -> list[plugtune.Stage]:
    """The stage `sft`."""
    return [
        plugtune.Stage(
            name="sft",
            summary="Supervised fine-tuning: loss on the answers of conversations",
            rows="conversation",
            options=SftOptions,
            checks="plugtune_stage_sft.checks:checks",
            encoder="plugtune_stage_sft.stage:make_encoder",
            trainer="plugtune_stage_sft.stage:build_trainer",
            generates=True,
        )
    ]

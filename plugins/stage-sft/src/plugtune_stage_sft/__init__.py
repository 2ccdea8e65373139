"""The supervised fine-tuning stage: what it eats and where its code is. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_stages() -> list[plugtune.Stage]:
    """The stage `sft`."""
    return [
        plugtune.Stage(
            name="sft",
            summary="Supervised fine-tuning: loss on the answers of conversations",
            rows="conversation",
            encoder="plugtune_stage_sft.stage:make_encoder",
            trainer="plugtune_stage_sft.stage:build_trainer",
            generates=True,
        )
    ]

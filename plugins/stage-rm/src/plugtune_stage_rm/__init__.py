"""The reward model stage: what it eats and where its code is. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_stages() -> list[plugtune.Stage]:
    """The stage `rm`."""
    return [
        plugtune.Stage(
            name="rm",
            summary="Reward model: a value head that scores chosen answers above rejected ones",
            rows="preference",
            encoder="plugtune_stage_rm.stage:make_encoder",
            trainer="plugtune_stage_rm.stage:build_trainer",
            checks="plugtune_stage_rm.checks:checks",
            metrics=("accuracy", "margin"),
            sizes="plugtune_stage_rm.sizes:sizes",
        )
    ]

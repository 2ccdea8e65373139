"""The pre-training stage: what it eats and where its code is. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_stages() -> list[plugtune.Stage]:
    """The stage `pt`."""
    return [
        plugtune.Stage(
            name="pt",
            summary="Pre-training: next-token loss on every token of plain text",
            rows="document",
            encoder="plugtune_stage_pt.stage:make_encoder",
            trainer="plugtune_stage_pt.stage:build_trainer",
            checks="plugtune_stage_pt.checks:checks",
        )
    ]

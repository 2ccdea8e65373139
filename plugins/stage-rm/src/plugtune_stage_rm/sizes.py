"""What a reward model adds to a model in memory, for estimates. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune.training.sizing import StageSizes


def sizes(values: Mapping[str, Any], adapters: bool) -> StageSizes:
    """Two answers to a prompt, and no logits: a value head reads the last hidden states."""
    return StageSizes(rows=2, logits=False)

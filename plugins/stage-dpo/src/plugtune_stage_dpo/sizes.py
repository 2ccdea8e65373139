"""What preferences add to a model in memory, for estimates. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune.training.sizing import StageSizes


def sizes(values: Mapping[str, Any], adapters: bool) -> StageSizes:
    """Two answers to a prompt; a reference model of its own is read before training and let go."""
    return StageSizes(rows=2, before=1 if values.get("ref_model") else 0)

"""What judged answers add to a model in memory, for estimates. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune.training.sizing import StageSizes


def sizes(values: Mapping[str, Any], adapters: bool) -> StageSizes:
    """A reference model of its own is read before training and let go; KL rows keep no activations."""
    return StageSizes(before=1 if values.get("ref_model") else 0)

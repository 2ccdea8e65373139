"""What GRPO adds to a model in memory, for estimates. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune.training.online.options import models_beside
from plugtune.training.sizing import StageSizes


def sizes(values: Mapping[str, Any], adapters: bool) -> StageSizes:
    """Reward models and, with a KL penalty, the reference stand beside the policy."""
    return StageSizes(frozen=models_beside(values, adapters, reference=bool(values.get("beta"))), generates=True)

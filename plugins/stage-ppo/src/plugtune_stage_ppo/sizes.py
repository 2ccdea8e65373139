"""What PPO adds to a model in memory, for estimates. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune.training.online.options import models_beside
from plugtune.training.sizing import StageSizes


def sizes(values: Mapping[str, Any], adapters: bool) -> StageSizes:
    """The reward model and the reference stand beside the policy; the critic is a head on the policy's own trunk."""
    return StageSizes(frozen=models_beside(values, adapters), generates=True)

"""Which options do not go together in supervised fine-tuning. Cheap: called before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune import Problem


def checks(values: Mapping[str, Any]) -> list[Problem]:
    """A loss of its own is not smoothed."""
    if not (values["use_dft_loss"] and values.get("label_smoothing_factor")):
        return []
    return [Problem("label_smoothing_factor does not go with use_dft_loss", where="label_smoothing_factor",
                    why="the weight is the probability of the one right token", fix="keep one of them")]  # fmt: skip

"""Which options do not go with reward models. Cheap: called before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune import Problem

ANSWERS_ONLY = ("train_on_prompt", "mask_history", "packing", "neat_packing")


def checks(values: Mapping[str, Any]) -> list[Problem]:
    """One problem for each option that has no meaning for scored pairs."""
    return [
        Problem(f"{name} has no meaning for a reward model", where=name, why="an answer has one score and no labels",
                fix=f"leave {name} out")
        for name in ANSWERS_ONLY
        if values.get(name)
    ]  # fmt: skip

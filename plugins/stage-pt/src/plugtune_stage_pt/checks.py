"""Which options do not go with pre-training. Cheap: called before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune import Problem

CHAT_ONLY = ("train_on_prompt", "mask_history", "predict_with_generate", "neat_packing")


def checks(values: Mapping[str, Any]) -> list[Problem]:
    """One problem for each option that only makes sense for conversations."""
    return [
        Problem(f"{name} has no meaning in pre-training", where=name, why="documents have no prompt and no answer",
                fix=f"leave {name} out, or use stage sft")
        for name in CHAT_ONLY
        if values.get(name)
    ]  # fmt: skip

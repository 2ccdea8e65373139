"""Metrics: how long generated answers are, beside their references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plugtune


@plugtune.hookimpl
def plugtune_metrics(predictions: Sequence[Mapping[str, str]], plan: Any) -> dict[str, float]:
    """Mean characters of answers and references."""
    count = max(len(predictions), 1)
    return {
        "predict_answer_characters": sum(len(p["predict"]) for p in predictions) / count,
        "predict_reference_characters": sum(len(p["label"]) for p in predictions) / count,
    }

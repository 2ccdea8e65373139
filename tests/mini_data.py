"""A small data set of questions and answers of different lengths, in a folder with its `dataset_info.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MINI: dict[str, Any] = {"mini": {"file_name": "mini.json"}}


def mini_rows(count: int = 21) -> list[dict[str, str]]:
    """Rows that cannot be mistaken for each other."""
    return [
        {"instruction": f"Question {n} " + "word " * (n % 7), "output": f"Answer {n} " + "yes " * (n % 5)}
        for n in range(count)
    ]


def write_mini(folder: Path, **more: Any) -> Path:
    """Write the set `mini`, and entries of `more` data sets, whose files the caller writes."""
    (folder / "mini.json").write_text(json.dumps(mini_rows()), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps(MINI | more), encoding="utf-8")
    return folder

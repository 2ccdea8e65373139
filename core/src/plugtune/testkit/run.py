"""Tiny runs for the kit: rows of every kind, a model folder, `plugtune train` in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from plugtune.testkit.base import plugtune


def _rows(count: int, make: Callable[[int], dict[str, Any]]) -> list[dict[str, Any]]:
    return [make(n) for n in range(count)]


def _question(n: int) -> dict[str, Any]:
    return {"instruction": f"Question {n % 5}?", "input": ""}


ROWS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "conversation": (
        _rows(32, lambda n: {**_question(n), "output": f"Answer {n % 5}. " * (1 + n % 3)}),
        {"formatting": "alpaca"},
    ),
    "document": (_rows(48, lambda n: {"text": f"Document {n % 6} says hello to everybody."}), {"formatting": "text"}),
    "preference": (
        _rows(32, lambda n: {**_question(n), "chosen": "Yes, gladly.", "rejected": "No."}),
        {"formatting": "alpaca", "ranking": True},
    ),
    "feedback": (
        _rows(32, lambda n: {**_question(n), "output": "Yes." if n % 2 else "No.", "kto_tag": bool(n % 2)}),
        {"formatting": "alpaca", "columns": {"kto_tag": "kto_tag"}},
    ),
}
"""Rows of each kind, with their registry entry (the formats come with plugtune-format-standard)."""


def data_folder(folder: Path, kind: str) -> Path:
    """A registry with the data set `rows` of a kind."""
    rows, entry = ROWS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "dataset_info.json").write_text(
        json.dumps({"rows": {"file_name": "rows.json", **entry}}), encoding="utf-8"
    )
    return folder


def train(model: Path, data: Path, output: Path, options: Mapping[str, Any], *, fails: bool = False) -> Any:
    """A short run; its `run.json`, or the ended process when it should fail."""
    settings = {
        "do_train": True, "model_name_or_path": model, "dataset": "rows", "dataset_dir": data, "output_dir": output,
        "per_device_train_batch_size": 4, "max_steps": 4, "learning_rate": 1e-2, "logging_steps": 1, "bf16": False,
        "lr_scheduler_type": "constant", "finetuning_type": "full", **options,
    }  # fmt: skip
    flags = [part for name, value in settings.items() for part in (f"--{name}", _written(value))]
    done = plugtune("train", *flags)
    if fails:
        return done
    if done.returncode != 0:
        pytest.fail(f"plugtune train ended with status {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads((output / "run.json").read_text(encoding="utf-8"))


def _written(value: Any) -> str:
    return (
        ",".join(map(str, value))
        if isinstance(value, list)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )


def losses(output: Path) -> list[float]:
    """The losses of a run's log, step by step."""
    lines = (output / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]

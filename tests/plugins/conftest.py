"""Whole runs in this process: fast enough for tests that are not marked as real runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plugtune.options.reader import read_request
from plugtune.plugins.host import PluginHost
from plugtune.training.run import run_training


@pytest.fixture(scope="session")
def train_here(host: PluginHost) -> Callable[..., Path]:
    """Trains with these options on one thread in fp32; the output folder."""

    def call(output: Path, **options: Any) -> Path:
        import torch

        values = {
            "do_train": True,
            "output_dir": output,
            "bf16": False,
            "logging_steps": 1,
            "template": "auto",
            **options,
        }
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            run_training(read_request([f"{name}={value}" for name, value in values.items()]), host)
        finally:
            torch.set_num_threads(before)
        return output

    return call


@pytest.fixture(scope="session")
def log_of() -> Callable[[Path, str], list[float]]:
    """One number of `trainer_log.jsonl`, step by step."""

    def call(output: Path, name: str) -> list[float]:
        lines = (output / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
        return [entry[name] for entry in map(json.loads, lines) if name in entry]

    return call

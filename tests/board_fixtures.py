"""A board in a folder of its own, and its pieces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plugtune.plugins.host import PluginHost

ROOT = Path(__file__).parents[1]


@pytest.fixture
def work(tmp_path: Path, model_dir: Path) -> Path:
    """A working folder: data sets, a tiny model."""
    folder = tmp_path / "work"
    shutil.copytree(ROOT / "data", folder / "data")
    shutil.copytree(model_dir, folder / "models" / "tiny")
    return folder


@pytest.fixture
def composer(host: PluginHost, work: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from plugtune_app_board.compose import Composer
    from plugtune_app_board.settings import read_settings

    monkeypatch.chdir(work)
    return Composer(host, read_settings(environ={}))


@pytest.fixture
def form() -> dict[str, Any]:
    """What a page holds when a model and a data set were chosen."""
    return {
        "top.model_name": "Custom", "top.model_path": "models/tiny", "top.finetuning_type": "lora", "top.template": "auto",
        "train.training_stage": "sft", "train.dataset_dir": "data", "train.dataset": ["identity"],
        "train.output_dir": "first",
    }  # fmt: skip


class Boards:
    """Starts the program in a folder; each start answers with the board's address, once it listens."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.children: list[subprocess.Popen[str]] = []

    def __call__(self, *flags: str, env: dict[str, str] | None = None) -> str:
        path = self.work / f"board-{len(self.children)}.log"
        with path.open("w", encoding="utf-8") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "plugtune", "board", "--port", "0", *flags], cwd=self.work, stdout=log,
                stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            )  # fmt: skip
        self.children.append(child)
        for _ in range(1200):
            text = path.read_text(encoding="utf-8")
            if "Running on local URL: " in text:
                return text.partition("Running on local URL: ")[2].split()[0]
            assert child.poll() is None, text
            time.sleep(0.1)
        raise AssertionError("the board did not start")

    def stop(self) -> None:
        """End every board; what they started goes on."""
        for child in self.children:
            child.terminate()
            child.wait(20)

    def end_jobs(self) -> None:
        """End what a test that failed has left running: jobs outlive their boards."""
        from plugtune_app_board.jobs import Jobs

        jobs = Jobs(self.work / "saves/.board/jobs", self.work)
        for job in jobs.all():
            if job.active:
                jobs.abort(job.id)


@pytest.fixture
def start_board(work: Path) -> Iterator[Boards]:
    boards = Boards(work)
    yield boards
    boards.stop()
    boards.end_jobs()

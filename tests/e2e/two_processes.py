"""The same command in two processes of this machine, for tests that compare them with one."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any


def entries(output: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (output / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()]


def losses(output: Path) -> list[float]:
    """The training losses of a run, step by step."""
    return [entry["loss"] for entry in entries(output) if "loss" in entry]


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start_two(forked: Any, args: list[str], folder: Path, **env: str) -> tuple[list[int], list[str]]:
    """Two processes that find each other by the usual variables: their exit statuses, and what each printed."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", **env}
    logs = [folder / f"log{rank}" for rank in range(2)]
    pids = [forked.start(args, logs[r], {**shared, "RANK": str(r), "LOCAL_RANK": str(r)}) for r in range(2)]
    statuses = [forked.wait(pid) for pid in pids]
    return statuses, [log.read_text(encoding="utf-8") for log in logs]


def as_two(forked: Any, args: list[str], folder: Path, **env: str) -> list[str]:
    """Two processes that both succeed; what each printed."""
    statuses, texts = start_two(forked, args, folder, **env)
    assert statuses == [0, 0], texts
    return texts

"""Looking ahead before a run: the data report and the memory it would take, from the command line's own answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from plugtune.errors import RunError

from plugtune_app_board.compose import Composer
from plugtune_app_board.order import Order

LIMIT = 1800
"""Seconds that a look ahead may take (tokenizing a large data set once is most of it, and is cached)."""


def dry_run(composer: Composer, order: Order) -> dict[str, Any]:
    """What `plugtune train FILE --dry-run` answers: data report, choices, notes.

    Raises:
        RunError: the command refused; holds its message.
    """
    return _ask(composer, order, ["train"], ["--dry-run"])


def estimate(composer: Composer, order: Order) -> dict[str, Any]:
    """What `plugtune estimate FILE --json` answers.

    Raises:
        RunError: the command refused, or is not there.
    """
    return _ask(composer, order, ["estimate"], ["--json"])


def can_estimate() -> bool:
    """Whether the program has the command `estimate`."""
    from plugtune.cli.main import COMMANDS
    from plugtune.plugins.index import read_index

    return "estimate" in COMMANDS or any(row["name"] == "estimate" for row in read_index().rows("command"))


def _ask(composer: Composer, order: Order, before: list[str], after: list[str]) -> dict[str, Any]:
    composer.settings.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=composer.settings.state) as folder:
        file = Path(folder) / "look.yaml"
        file.write_text(order.yaml(), encoding="utf-8")
        command = [sys.executable, "-m", "plugtune", *before, str(file), *after]
        try:
            done = subprocess.run(
                command, cwd=composer.settings.work, env={**os.environ, **order.env}, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, timeout=LIMIT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise RunError(
                f"looking ahead took longer than {LIMIT} s", fix="start the run; it prepares the same rows"
            ) from error
    if done.returncode != 0:
        raise RunError(_message(done.stderr) or f"the command ended with status {done.returncode}")
    answer = json.loads(done.stdout)
    return answer if isinstance(answer, dict) else {"answer": answer}


def _message(stderr: str) -> str:
    """The error among what a command said."""
    _, found, rest = stderr.rpartition("error: ")
    return rest.strip() if found else "\n".join(stderr.strip().splitlines()[-5:])

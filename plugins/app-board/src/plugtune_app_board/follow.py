"""What a run left on disk, read while it is written: log, progress, curves, results. Never holds a file open."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG = "running_log.txt"
OPTIONS = "training_args.yaml"
FORM = "board_config.yaml"
POINTS = "trainer_log.jsonl"
NOT_CURVES = ("current_steps", "total_steps", "percentage", "elapsed_time", "remaining_time", "epoch", "total_tokens")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: steps, share in percent, clock texts, last loss."""

    step: int = 0
    total: int = 0
    percent: float = 0.0
    elapsed: str = ""
    remaining: str = ""
    loss: float | None = None
    throughput: float | None = None


def tail(path: Path, characters: int = 20_000) -> str:
    """The end of a log, whole lines."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            size = file.tell()
            file.seek(max(0, size - 4 * characters))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    text = "\n".join(line.rpartition("\r")[2] for line in text.splitlines())
    if len(text) <= characters:
        return text
    return text[-characters:].partition("\n")[2]


def points(folder: Path) -> list[dict[str, Any]]:
    """The logged steps of a run; a line that is still being written waits for the next look."""
    found = []
    for line in _lines(folder / POINTS):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("current_steps"), int):
            found.append(entry)
    return found


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return


def progress(folder: Path) -> Progress:
    """The newest state of a run."""
    log = points(folder)
    if not log:
        return Progress()
    last = log[-1]
    losses = [entry["loss"] for entry in log if isinstance(entry.get("loss"), int | float)]
    return Progress(
        last["current_steps"], int(last.get("total_steps") or 0), float(last.get("percentage") or 0),
        str(last.get("elapsed_time", "")), str(last.get("remaining_time", "")), losses[-1] if losses else None,
        last.get("throughput"),
    )  # fmt: skip


def metrics(log: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the numbers that a run logs, loss first."""
    names = dict.fromkeys(k for entry in log for k, v in entry.items() if _is_number(v) and k not in NOT_CURVES)
    first = [name for name in ("loss", "eval_loss") if name in names]
    return first + sorted(name for name in names if name not in first)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def series(log: Sequence[dict[str, Any]], metric: str) -> list[tuple[int, float]]:
    """(step, value) of a metric; of a step that was done twice, before and after a resume, the later one counts."""
    found = {entry["current_steps"]: float(entry[metric]) for entry in log if _is_number(entry.get(metric))}
    return sorted(found.items())


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average without the pull of its start (Adam's bias correction)."""
    smoothed, mean = [], 0.0
    weight = min(max(weight, 0.0), 0.999)
    for number, value in enumerate(values, 1):
        mean = weight * mean + (1 - weight) * value
        smoothed.append(mean / (1 - weight**number))
    return smoothed


def results(folder: Path) -> dict[str, Any]:
    """The final numbers of a run; empty while there are none."""
    try:
        values = json.loads((folder / "all_results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}

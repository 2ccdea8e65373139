"""`training_loss.png`: the loss as logged and smoothed, with the evaluation loss when there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError


def smooth(values: Sequence[float], weight: float = 0.8) -> list[float]:
    """Exponential moving average, corrected for the start so that the first value is not favoured."""
    result, average, total = [], 0.0, 0.0
    for value in values:
        average = weight * average + (1 - weight) * value
        total = weight * total + (1 - weight)
        result.append(average / total)
    return result


def require_matplotlib() -> None:
    """Tell before the run, not after it, that a picture cannot be drawn."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise RequestError("plot_loss needs matplotlib", where="plot_loss", fix='pip install "plugtune[plot]"')


def plot_loss(history: Sequence[Mapping[str, Any]], path: Path, metrics: Sequence[str] = ()) -> bool:
    """Draw the losses of a trainer's log history; says whether there was anything to draw.

    Args:
        history: what the trainer logged, in order.
        path: the picture.
        metrics: further numbers of the stage, each drawn below the loss where the history has it.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if not any("loss" in entry for entry in history):
        return False
    names = ["loss", *(name for name in metrics if any(name in entry for entry in history))]
    figure, rows = pyplot.subplots(len(names), figsize=(8, 3 + 2 * len(names)), sharex=True, squeeze=False)
    for axes, name in zip(rows[:, 0], names, strict=True):
        _draw(axes, history, name)
    rows[-1, 0].set_xlabel("step")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True


def _draw(axes: Any, history: Sequence[Mapping[str, Any]], name: str) -> None:
    """One number as logged and smoothed, and its value in evaluations as points."""
    steps, values = zip(*((entry["step"], entry[name]) for entry in history if name in entry), strict=True)
    axes.plot(steps, values, color="#9ecae1", label=name)
    axes.plot(steps, smooth(values), color="#08519c", label=f"{name}, smoothed")
    evaluation = [(entry["step"], entry[f"eval_{name}"]) for entry in history if f"eval_{name}" in entry]
    if evaluation:
        axes.plot(*zip(*evaluation, strict=True), color="#d94801", marker="o", label="evaluation")
    axes.set_ylabel(name)
    axes.legend()
    axes.grid(alpha=0.3)

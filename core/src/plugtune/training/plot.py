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


def plot_loss(history: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """Draw the losses of a trainer's log history; says whether there was anything to draw."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    train = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    evaluation = [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    if not train:
        return False
    figure, axes = pyplot.subplots(figsize=(8, 5))
    steps, losses = zip(*train, strict=True)
    axes.plot(steps, losses, color="#9ecae1", label="loss")
    axes.plot(steps, smooth(losses), color="#08519c", label="loss, smoothed")
    if evaluation:
        axes.plot(*zip(*evaluation, strict=True), color="#d94801", marker="o", label="evaluation loss")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return True

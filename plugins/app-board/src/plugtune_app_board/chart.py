"""Curves as SVG: a few lines over steps, drawn for the theme of the page. Knows numbers, not where they come from."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 34
MOST = 1500
"""Points drawn of a line; longer ones are thinned evenly, first and last kept."""


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: its name, its points in order, a CSS colour, and whether it is drawn faintly."""

    name: str
    points: Sequence[tuple[float, float]]
    color: str
    faint: bool = False

    @property
    def opacity(self) -> float:
        """How much of the colour is seen."""
        return 0.45 if self.faint else 1.0


def svg(lines: Sequence[Line], x_name: str, empty: str) -> str:
    """The chart; `empty` is shown while there is nothing to draw."""
    finite = [Line(c.name, [p for p in c.points if math.isfinite(p[1])], c.color, c.faint) for c in lines]
    drawn = [line for line in finite if line.points]
    if not drawn:
        return f'<div class="pt-chart pt-chart-empty" data-points="0">{html.escape(empty)}</div>'
    xs = [x for line in drawn for x, _ in line.points]
    ys = [y for line in drawn for _, y in line.points]
    x_ticks, y_ticks = ticks(min(xs), max(xs), 6, whole=True), ticks(min(ys), max(ys), 5)
    low_x, high_x = min(xs), max(max(xs), min(xs) + 1)
    low_y, high_y = min(y_ticks[0], min(ys)), max(y_ticks[-1], max(ys))
    if high_y == low_y:
        high_y = low_y + 1

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + (x - low_x) / (high_x - low_x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (y - low_y) / (high_y - low_y) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [_grid(x_ticks, y_ticks, place, x_name)]
    parts += [_path(line, place) for line in drawn]
    legend = "".join(
        f'<span><i style="background:{line.color};opacity:{line.opacity}"></i>{html.escape(line.name)}</span>'
        for line in drawn
    )
    count = max(len(line.points) for line in drawn)
    return (
        f'<div class="pt-chart" data-points="{count}"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(drawn[-1].name)}">{"".join(parts)}</svg>'
        f'<div class="pt-legend-line">{legend}</div></div>'
    )


def _grid(x_ticks: list[float], y_ticks: list[float], place: object, x_name: str) -> str:
    assert callable(place)
    parts = []
    for y in y_ticks:
        _, at = place(x_ticks[0], y)
        parts.append(f'<line class="g" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{shown(y)}</text>')
    for x in x_ticks:
        at, _ = place(x, y_ticks[0])
        if LEFT - 1 <= at <= WIDTH - RIGHT + 1:
            parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{shown(x)}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 3}" text-anchor="end">{html.escape(x_name)}</text>')
    return "".join(parts)


def _path(line: Line, place: object) -> str:
    assert callable(place)
    points = thin(line.points)
    at = [place(x, y) for x, y in points]
    style = f'stroke="{line.color}" opacity="{line.opacity}" stroke-width="{1.4 if line.faint else 2.2}"'
    last = f'<circle cx="{at[-1][0]:.1f}" cy="{at[-1][1]:.1f}" r="{2 if line.faint else 3}" fill="{line.color}"/>'
    coordinates = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    title = f"<title>{html.escape(line.name)}: {shown(points[-1][1])}</title>"
    return f'<g>{title}<polyline fill="none" {style} points="{coordinates}"/>{last}</g>'


def thin(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """At most `MOST` points."""
    if len(points) <= MOST:
        return points
    step = (len(points) - 1) / (MOST - 1)
    return [points[round(number * step)] for number in range(MOST)]


def ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[float]:
    """Round numbers from below `low` to above `high`, about `count` of them."""
    span = high - low or abs(high) or 1.0
    raw = span / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    if whole:
        step = max(1.0, float(round(step)))
    first = math.floor(low / step) * step
    found = [first]
    while found[-1] < high - step * 1e-9:
        found.append(first + len(found) * step)
    return found


def shown(value: float) -> str:
    """A number as short as it can be read."""
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        return f"{value:.1e}".replace("e+0", "e").replace("e-0", "e-")
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"

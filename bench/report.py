"""Writes docs/benchmarks.md and its pictures from what the benchmarks left; no figure is typed in.

    python bench/report.py [--results .bench/results] [--docs docs]

What stands outside the marks `<!-- measured: PART -->` and `<!-- /measured -->` of the page is left as it is; a part
without results keeps what is there.
"""

from __future__ import annotations

import argparse
import re
import statistics
from pathlib import Path
from typing import Any

from peers import HOME
from record import OURS, ROOT, Curve, Measurement, Result, read

RESULTS = HOME / "results"
MARKED = re.compile(r"(<!-- measured: (?P<part>[\w-]+) -->\n).*?(<!-- /measured -->)", re.DOTALL)


def lines(found: Measurement) -> list[str]:
    """A measurement as Markdown: its title, a table with one row a side, its notes."""
    ours = statistics.median(found.sides[OURS]) if OURS in found.sides else None
    peaks = bool(found.peaks)
    head = ["", found.unit, "spread", *(["plugtune against it"] if ours else []), *(["peak MB"] if peaks else [])]
    table = [f"**{found.title}** ({found.better} is better)", "", _row(head), "|---" * len(head) + "|"]
    for side, values in found.sides.items():
        middle = statistics.median(values)
        cells = [side, number(middle), spread(values)]
        if ours:
            times = ours / middle if found.better == "higher" else middle / ours
            cells.append("" if side == OURS else f"{times:.2f}×")
        if peaks:
            cells.append(f"{statistics.median(found.peaks[side]):,.0f}" if found.peaks.get(side) else "")
        table.append(_row(cells))
    return [*table, "", *(["; ".join(found.notes) + ".", ""] if found.notes else [])]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def number(value: float) -> str:
    """Three significant digits, thousands with commas."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(values: list[float]) -> str:
    """Smallest to largest of the rounds, or that there was one round only."""
    return "one round" if len(values) < 2 else f"{number(min(values))} to {number(max(values))} of {len(values)}"


def origin(about: dict[str, Any]) -> list[str]:
    """Where figures come from, in a few lines."""
    machine = about["machine"]
    features = f", {', '.join(machine['features'])}" if machine["features"] else ""
    versions = [f"{side}: " + ", ".join(f"{n} {v}" for n, v in found.items()) for side, found in
                about["versions"].items()]  # fmt: skip
    return [
        f"`{about['command']}` at {about['revision']}, {about['date']}, load {about['load']:.1f} when it started. "
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']:.0f} GB{features}, "
        f"Python {machine['python']}. " + "; ".join(versions) + ".",
        "",
    ]


def body(part: str, result: Result, pictures: Path) -> str:
    """A part's Markdown; its pictures are drawn into a folder, by the part's name."""
    found = [line for measurement in result.measurements for line in lines(measurement)]
    bars = [m for m in result.measurements if OURS in m.sides and len(m.sides) > 1]
    if bars:
        picture = pictures / f"{part}.svg"
        draw_ratios(bars, picture)
        found += [f"![{part}: plugtune against the others](images/bench/{picture.name})", ""]
    for at, curve in enumerate(result.curves):
        picture = pictures / f"{part}-{at}.svg"
        draw_curve(curve, picture)
        found += [f"![{curve.title}](images/bench/{picture.name})", "", *curve_lines(curve)]
    return "\n".join([*found, *origin(result.about)])


def curve_lines(curve: Curve) -> list[str]:
    """The points of a curve as a table."""
    xs = sorted({x for points in curve.lines.values() for x, _ in points})
    head = [curve.x, *(f"{name}, {curve.y}" if len(curve.lines) == 1 else name for name in curve.lines)]
    table = [f"**{curve.title}** ({curve.y})", "", _row(head), "|---" * len(head) + "|"]
    for x in xs:
        cells = [number(dict(points)[x]) if x in dict(points) else "" for points in curve.lines.values()]
        table.append(_row([f"{x:,.0f}", *cells]))
    return [*table, "", *(["; ".join(curve.notes) + ".", ""] if curve.notes else [])]


def _figure(width: float, height: float) -> tuple[Any, Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "plugtune", "font.size": 9, "svg.fonttype": "none"})
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return plt, figure, axes


def draw_ratios(found: list[Measurement], path: Path) -> None:
    """How many times better plugtune is than each other side, one bar each; the line is a draw."""
    labels, values = [], []
    for measurement in found:
        ours = statistics.median(measurement.sides[OURS]) if OURS in measurement.sides else None
        for side, rounds in measurement.sides.items():
            if ours and side != OURS:
                middle = statistics.median(rounds)
                labels.append(f"{measurement.title}, {measurement.unit}: {side}")
                values.append(ours / middle if measurement.better == "higher" else middle / ours)
    plt, figure, axes = _figure(9, 0.8 + 0.24 * len(labels))
    axes.barh(range(len(labels)), values, color=["#3f51b5" if value >= 1 else "#c0504d" for value in values])
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("plugtune against it, times")
    _save(plt, figure, path)


def draw_curve(curve: Curve, path: Path) -> None:
    """Lines over a common axis; logarithmic where values span more than a factor of 30."""
    plt, figure, axes = _figure(6, 3)
    for name, points in curve.lines.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=name)
    xs = [x for points in curve.lines.values() for x, _ in points]
    if min(xs) > 0 and max(xs) > 30 * min(xs):
        axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(curve.x)
    axes.set_ylabel(curve.y)
    if len(curve.lines) > 1:
        axes.legend(frameon=False)
    _save(plt, figure, path)


def _save(plt: Any, figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def write(page: Path, results: dict[str, Result], pictures: Path) -> list[str]:
    """Put each part's figures between its marks; returns the parts that have no place on the page."""
    text = page.read_text(encoding="utf-8")
    places = [match["part"] for match in MARKED.finditer(text)]

    def fill(match: re.Match[str]) -> str:
        result = results.get(match["part"])
        return match[0] if result is None else f"{match[1]}{body(match['part'], result, pictures)}{match[3]}"

    page.write_text(MARKED.sub(fill, text), encoding="utf-8")
    return sorted(set(results) - set(places))


def main() -> int:
    """Read every result and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    args = parser.parse_args()
    results = {path.stem: read(path) for path in sorted(args.results.glob("*.json"))}
    lost = write(args.docs / "benchmarks.md", results, args.docs / "images" / "bench")
    print(f"{args.docs / 'benchmarks.md'}: {', '.join(sorted(set(results) - set(lost))) or 'nothing new'}")
    if lost:
        print(f"no place on the page for {', '.join(lost)}: add the marks")
    return 1 if lost else 0


if __name__ == "__main__":
    raise SystemExit(main())

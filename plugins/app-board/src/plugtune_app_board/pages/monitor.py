"""What runs: state, progress, log and curve, read from the run's files by the page's clock."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from plugtune_app_board import chart, follow
from plugtune_app_board.board import Board
from plugtune_app_board.chart import Line
from plugtune_app_board.form import Form
from plugtune_app_board.jobs import Job
from plugtune_app_board.labels import Labels, labels

RAW = "var(--color-accent)"


@dataclass(slots=True)
class Monitor:
    """The components of one monitor and the kind of job it shows."""

    board: Board
    kind: str
    status: Any
    log: Any
    plot: Any = None
    metric: Any = None
    smoothing: Any = None
    seen: Any = None

    def inputs(self, language: Any) -> list[Any]:
        """What a tick reads."""
        return [language, self.seen, *((self.metric, self.smoothing) if self.plot is not None else ())]

    def outputs(self) -> list[Any]:
        """What a tick writes."""
        return [self.seen, self.status, self.log, *((self.metric, self.plot) if self.plot is not None else ())]

    def tick(self, language: str, seen: str, metric: str = "loss", smoothing: float = 0.6) -> list[Any]:
        """Everything anew when something changed since the last look, else nothing."""
        words = labels(language)
        job = self.board.latest(self.kind)
        sign = repr((_sign(job), [j.id for j in self.board.jobs.waiting()], language, metric, smoothing))
        if sign == seen:
            return [gr.skip()] * len(self.outputs())
        status, log = status_html(job, self.board, words), follow.tail(Path(job.log)) if job else ""
        answer: list[Any] = [sign, status, log]
        if self.plot is not None:
            points = follow.points(Path(job.folder)) if job else []
            names = follow.metrics(points) or ["loss"]
            metric = metric if metric in names else names[0]
            answer += [gr.update(choices=names, value=metric), curve(points, metric, smoothing, words)]
        return answer


def together(monitors: Sequence[Monitor], language: Any) -> tuple[Callable[..., list[Any]], list[Any], list[Any]]:
    """One event that looks at all of them, with its inputs and outputs: an event costs more than a look."""
    counts = [len(watch.inputs(language)) - 1 for watch in monitors]

    def tick(language: str, *values: Any) -> list[Any]:
        answer, at = [], 0
        for watch, count in zip(monitors, counts, strict=True):
            answer += watch.tick(language, *values[at : at + count])
            at += count
        return answer

    inputs = [language, *(item for watch in monitors for item in watch.inputs(language)[1:])]
    return tick, inputs, [item for watch in monitors for item in watch.outputs()]


def build(board: Board, form: Form, kind: str) -> Monitor:
    """Status, curve and log of the newest job of a kind."""
    status = gr.HTML("", elem_id=f"{kind}-status", padding=False)
    seen = gr.State("")
    if kind != "train":
        log = form.make(gr.Textbox, lambda w: {"label": w("log")}, lines=10, max_lines=18, interactive=False,
                        elem_id=f"{kind}-log", autoscroll=True)  # fmt: skip
        return Monitor(board, kind, status, log, seen=seen)
    with gr.Row(equal_height=False):
        with gr.Column(scale=3):
            with gr.Row():
                metric = form.make(
                    gr.Dropdown,
                    lambda w: {"label": w("metric")},
                    choices=["loss"],
                    value="loss",
                    scale=1,
                    elem_id="metric",
                )
                smoothing = form.make(
                    gr.Slider,
                    lambda w: {"label": w("smoothing")},
                    minimum=0,
                    maximum=0.99,
                    value=0.6,
                    step=0.01,
                    scale=2,
                )
            plot = gr.HTML(chart.svg([], "", labels(form.language)("nothing_yet")), elem_id="curve", padding=False)
        log = form.make(gr.Textbox, lambda w: {"label": w("log")}, lines=17, max_lines=17, interactive=False,
                        elem_id="train-log", autoscroll=True, scale=2)  # fmt: skip
    return Monitor(board, kind, status, log, plot, metric, smoothing, seen)


def _sign(job: Job | None) -> Any:
    if job is None:
        return None
    sizes = []
    for path in (Path(job.log), Path(job.folder) / follow.POINTS):
        try:
            stat = path.stat()
            sizes.append((stat.st_size, stat.st_mtime_ns))
        except OSError:
            sizes.append((0, 0))
    return job.id, job.state, job.asked, sizes


def status_html(job: Job | None, board: Board, words: Labels) -> str:
    """State, bar and figures of a job, and the queue."""
    if job is None:
        return f'<div class="pt-status pt-note">{words("nothing_yet")}</div>'
    now = follow.progress(Path(job.folder)) if job.kind == "train" else follow.Progress()
    percent = 100.0 if job.state == "finished" else now.percent
    state = words(f"asked_{job.asked}") if job.asked and job.state == "running" else words(f"state_{job.state}")
    figures = []
    if now.total:
        figures.append((words("step"), f"{now.step:,} / {now.total:,}"))
        figures.append((words("elapsed"), now.elapsed))
        if now.remaining and job.state == "running":
            figures.append((words("remaining"), now.remaining))
    if now.loss is not None:
        figures.append((words("loss"), f"{now.loss:.4f}"))
    if now.throughput:
        figures.append((words("throughput"), f"{now.throughput:,.0f}"))
    if job.state == "failed" and job.code is not None:
        figures.append((words("exit_code"), str(job.code)))
    told = "".join(f"<span>{html.escape(name)} <b>{html.escape(value)}</b></span>" for name, value in figures)
    waiting = [other.title for other in board.jobs.waiting()]
    queue = f"<span>{words('in_queue')} <b>{html.escape(', '.join(waiting))}</b></span>" if waiting else ""
    done = f" · {words('done_' + job.kind)}" if job.state == "finished" else ""
    return (
        f'<div class="pt-status" data-state="{job.state}" data-steps="{now.step}"><div class="pt-line">'
        f'<span><span class="pt-state {job.state}">{html.escape(state)}</span> '
        f"<b>{html.escape(job.title)}</b>{done}</span>"
        f"<span>{percent:.0f} %</span></div>"
        f'<div class="pt-bar"><i style="width:{percent:.1f}%"></i></div>'
        f'<div class="pt-figures">{told}{queue}</div></div>'
    )


def curve(points: list[dict[str, Any]], metric: str, smoothing: float, words: Labels) -> str:
    """The logged values and their smoothed course."""
    series = follow.series(points, metric)
    smooth = follow.smooth([value for _, value in series], smoothing)
    smoothed = [(step, value) for (step, _), value in zip(series, smooth, strict=True)]
    lines = [Line(metric, series, RAW, faint=True), Line(f"{metric} ({words('smoothed')})", smoothed, RAW)]
    return chart.svg(lines, words("step"), words("no_points"))


def ender(board: Board, kind: str, ask: Callable[[str], None]) -> Callable[[str], str]:
    """An event that stops or aborts the running job of a kind; the newest waiting one when none runs."""

    def end(language: str) -> str:
        words = labels(language)
        if board.settings.demo:
            return f'<div class="pt-problems">{words("demo")}</div>'
        jobs = [job for job in board.jobs.all() if job.kind == kind and job.active]
        chosen = next((job for job in jobs if job.state == "running"), jobs[0] if jobs else None)
        if chosen is None:
            return f'<div class="pt-problems">{words("nothing_runs")}</div>'
        ask(chosen.id)
        return f'<div class="pt-ok">{words("asked", name=html.escape(chosen.title))}</div>'

    return end

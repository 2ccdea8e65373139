"""The runs tab: the queue, earlier runs, and two or more of them side by side."""

from __future__ import annotations

import html
import time
from pathlib import Path
from typing import Any

import gradio as gr
import yaml
from plugtune.errors import PlugtuneError

from plugtune_app_board import chart, follow
from plugtune_app_board.board import Board
from plugtune_app_board.chart import Line
from plugtune_app_board.form import Form, problem_box
from plugtune_app_board.labels import Labels, labels
from plugtune_app_board.look import explain
from plugtune_app_board.pages.train import load_into, read_run

COLORS = ("#4f46e5", "#d97706", "#059669", "#dc2626", "#0891b2", "#7c3aed", "#be185d", "#4d7c0f")


def build(board: Board, form: Form) -> tuple[Any, Any]:
    """The tab; returns the table and its opening event's target."""
    at = form.items
    with gr.Row(equal_height=True):
        chosen = form.make(
            gr.Dropdown,
            lambda w: {"label": w("runs_choose"), "info": w("runs_choose_info")},
            choices=[],
            multiselect=True,
            scale=4,
            elem_id="runs-choose",
        )
        metric = form.make(gr.Textbox, lambda w: {"label": w("metric")}, value="loss", scale=1, min_width=120)
        compare = form.button("compare", variant="primary", scale=1, min_width=120)
        reuse = form.button("reuse", scale=1, min_width=120)
        resume = form.button("resume_run", scale=1, min_width=120)
        again = form.button("refresh", "runs_refresh", scale=1, min_width=120)
    message = problem_box()
    with gr.Row(equal_height=False):
        plot = gr.HTML("", elem_id="compare-curve", padding=False)
        differs = gr.HTML("", elem_id="compare-options", padding=False)
    table = gr.HTML("", elem_id="runs-table", padding=False)
    with gr.Row(equal_height=True):
        job = form.make(gr.Dropdown, lambda w: {"label": w("jobs_active")}, choices=[], scale=4)
        remove = form.button("stop", "runs_stop", scale=1)
        kill = form.button("abort", "runs_abort", variant="stop", scale=1)

    def listed(language: str) -> Any:
        names = [name_of(board, folder) for folder in board.known.all_runs()]
        active = [(f"{j.title} ({labels(language)('state_' + j.state)})", j.id) for j in board.jobs.all() if j.active]
        return (
            table_html(board, labels(language)),
            gr.update(choices=names),
            gr.update(choices=active, value=active[0][1] if active else None),
        )

    def side_by_side(names: list[str], which: str, language: str) -> Any:
        words = labels(language)
        try:
            folders = [board.settings.roots.inside(Path("saves") / name, "run") for name in names or []]
        except PlugtuneError as error:
            return explain(error), gr.skip(), gr.skip()
        if not folders:
            return f'<div class="pt-problems">{words("choose_runs")}</div>', gr.skip(), gr.skip()
        return "", curves(folders, names, which or "loss", words), options_html(folders, names, words)

    def end(ask: Any) -> Any:
        def event(identity: str, language: str) -> str:
            words = labels(language)
            if not identity or board.settings.demo:
                return f'<div class="pt-problems">{words("demo" if identity else "nothing_runs")}</div>'
            ask(identity)
            return f'<div class="pt-ok">{words("asked", name="")}</div>'

        return event

    again.click(listed, at["top.lang"], [table, chosen, job], **form.quiet)
    compare.click(side_by_side, [chosen, metric, at["top.lang"]], [message, plot, differs], **form.quiet)
    for button, ask in ((remove, board.jobs.stop), (kill, board.jobs.abort)):
        button.click(end(ask), [job, at["top.lang"]], message, **form.quiet).then(
            listed, at["top.lang"], [table, chosen, job], **form.quiet
        )

    def wire() -> None:
        for button in (reuse, resume):
            load_into(board, form, button.click, chosen, message, lambda names: _one(board, names))
        resume.click(lambda: gr.update(selected="train"), None, form.tabs, **form.quiet)

    form.later.append(wire)
    return listed, [table, chosen, job]


def _one(board: Board, names: Any) -> dict[str, Any]:
    from plugtune.errors import RequestError

    if not names:
        raise RequestError("no run is chosen", where="runs", fix="choose one from the list")
    name = names[0] if isinstance(names, list) else str(names)
    return read_run(board, name) | {"train.output_dir": Path(name).name, "train.existing": "resume"}


def name_of(board: Board, folder: Path) -> str:
    """`MODEL/METHOD/RUN`."""
    return folder.relative_to(board.settings.saves).as_posix()


def table_html(board: Board, words: Labels) -> str:
    """Every run with its state and last numbers."""
    states = {job.folder: job for job in reversed(board.jobs.all())}
    rows = []
    for folder in board.known.all_runs()[:200]:
        job, now, numbers = states.get(str(folder)), follow.progress(folder), follow.results(folder)
        state = job.state if job else ("finished" if numbers else "ended")
        stage = options_of(folder).get("stage", "")
        loss = numbers.get("train_loss", now.loss)
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(folder.stat().st_mtime))
        rows.append(
            f"<tr><td>{html.escape(name_of(board, folder))}</td><td>{html.escape(str(stage))}</td>"
            f'<td><span class="pt-state {state}">{html.escape(words("state_" + state))}</span></td>'
            f'<td class="n">{now.step:,} / {now.total:,}</td>'
            f'<td class="n">{"–" if loss is None else f"{loss:.4f}"}</td>'
            f"<td>{html.escape(now.elapsed)}</td><td>{when}</td></tr>"
        )
    heads = "".join(
        f'<th class="{"n" if key in ("steps", "loss") else ""}">{html.escape(words("run_" + key))}</th>'
        for key in ("name", "stage", "state", "steps", "loss", "time", "when")
    )
    body = "".join(rows) or f'<tr><td colspan="7" class="pt-note">{words("nothing_yet")}</td></tr>'
    return f'<div class="pt-scroll"><table class="pt-table"><tr>{heads}</tr>{body}</table></div>'


def options_of(folder: Path) -> dict[str, Any]:
    """The options that a run was started with."""
    try:
        values = yaml.safe_load((folder / follow.OPTIONS).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return values if isinstance(values, dict) else {}


def curves(folders: list[Path], names: list[str], metric: str, words: Labels) -> str:
    """One line a run."""
    lines = [
        Line(name, follow.series(follow.points(folder), metric), COLORS[number % len(COLORS)])
        for number, (folder, name) in enumerate(zip(folders, names, strict=True))
    ]
    return chart.svg(lines, words("step"), words("no_points"))


def options_html(folders: list[Path], names: list[str], words: Labels) -> str:
    """The options of the runs side by side; those that differ first and marked."""
    options = [options_of(folder) for folder in folders]
    keys = dict.fromkeys(key for values in options for key in values)
    differing = [key for key in keys if len({repr(values.get(key)) for values in options}) > 1]
    same = [key for key in keys if key not in differing]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    lines = []
    for key in (*differing, *same):
        cells = "".join(f"<td>{html.escape(str(values.get(key, '–')))}</td>" for values in options)
        lines.append(f'<tr class="{"differs" if key in differing else ""}"><td>{html.escape(key)}</td>{cells}</tr>')
    title = words("differences", count=len(differing))
    table = f'<table class="pt-table"><tr><th></th>{head}</tr>{"".join(lines)}</table>'
    return f'<div class="pt-scroll"><b>{title}</b>{table}</div>'

"""The evaluation tab: answers with scores, or the loss, of a model and its adapters on a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
from plugtune.errors import PlugtuneError

from plugtune_app_board import follow
from plugtune_app_board.board import Board
from plugtune_app_board.form import Form, problem_box
from plugtune_app_board.labels import labels
from plugtune_app_board.look import explain
from plugtune_app_board.pages import monitor, preview
from plugtune_app_board.pages.train import fresh


def build(board: Board, form: Form) -> tuple[monitor.Monitor, Any]:
    """The tab; returns its monitor and the place of the results."""
    folder = str(board.remembered().get("dataset_dir") or "data")
    with gr.Group():
        with gr.Row(equal_height=True):
            form.field("eval.dataset_dir", gr.Textbox, value=folder, scale=1)
            form.field("eval.dataset", gr.Dropdown, choices=lambda _: board.known.datasets(folder, "sft"), value=[],
                       multiselect=True, allow_custom_value=True, scale=3)  # fmt: skip
            look = form.button("preview_data", "eval_preview_data", scale=0, min_width=150)
        with gr.Row():
            form.field("eval.cutoff_len", gr.Number, value=1024, precision=0)
            form.field("eval.max_samples", gr.Textbox, value="")
            form.field("eval.batch_size", gr.Number, value=2, precision=0)
            form.field("eval.eval_seed", gr.Number, value=42, precision=0)
            form.field("eval.predict", gr.Checkbox, value=True)
        with gr.Row():
            form.field("eval.max_new_tokens", gr.Number, value=512, precision=0)
            form.field("eval.top_p", gr.Textbox, value="0.7")
            form.field("eval.temperature", gr.Textbox, value="0.95")
            form.field("eval.output_dir", gr.Textbox, value=fresh("eval"), scale=2)
    preview.build(board, form, look, "eval")
    with form.accordion("eval_extra"):
        form.field("eval.extra_args", gr.Textbox, value="{}", lines=2)
    with gr.Row(elem_classes="pt-buttons"):
        show = form.button("preview_command", "eval_preview_command")
        start = form.button("start", "eval_start", variant="primary")
        stop = form.button("abort", "eval_abort", variant="stop")
    message = problem_box()
    with gr.Column(visible=False) as shown:
        code = form.make(gr.Code, lambda w: {"label": w("command")}, language="shell", interactive=False,
                         elem_id="eval-command", max_lines=20)  # fmt: skip
    watch = monitor.build(board, form, "evaluate")
    results = form.make(
        gr.Code,
        lambda w: {"label": w("results")},
        language="json",
        interactive=False,
        max_lines=20,
        elem_id="eval-results",
    )
    _wire(board, form, message, shown, code, (show, start, stop))
    return watch, results


def _wire(board: Board, form: Form, message: Any, shown: Any, code: Any, buttons: tuple[Any, Any, Any]) -> None:
    show, start, stop = buttons
    at = form.items
    everything = set(form.of("top.", "eval."))
    everything |= {at["train.devices"], at["train.processes"]}

    def show_command(data: dict[Any, Any]) -> Any:
        try:
            return "", gr.update(visible=True), board.composer.evaluate(form.values(data)).shown()
        except PlugtuneError as error:
            return explain(error), gr.skip(), gr.skip()

    def begin(data: dict[Any, Any]) -> Any:
        values = form.values(data)
        words = labels(str(values.get("top.lang")))
        if board.settings.demo:
            return f'<div class="pt-problems">{words("demo")}</div>', gr.skip()
        try:
            job = board.start(board.composer.evaluate(values), values)
        except PlugtuneError as error:
            return explain(error), gr.skip()
        return f'<div class="pt-ok">{words("started" if job.state != "queued" else "queued")}</div>', fresh("eval")

    show.click(show_command, everything, [message, shown, code], api_visibility="private")
    start.click(begin, everything, [message, at["eval.output_dir"]], concurrency_limit=1, **form.quiet)
    stop.click(monitor.ender(board, "evaluate", board.jobs.abort), at["top.lang"], message, **form.quiet)
    folder, data = at["eval.dataset_dir"], at["eval.dataset"]
    for event in (data.focus, folder.blur):
        event(lambda f: gr.update(choices=board.known.datasets(f, "sft")), folder, data, **form.quiet)


def results_of(board: Board) -> str:
    """The numbers of the newest evaluation, as JSON."""
    job = board.latest("evaluate")
    found = follow.results(Path(job.folder)) if job is not None and job.state == "finished" else {}
    return json.dumps(found, indent=2) if found else ""

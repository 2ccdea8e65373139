"""The export tab: a trained model in another form, written by an installed exporter."""

from __future__ import annotations

import time
from typing import Any

import gradio as gr
from plugtune.errors import PlugtuneError

from plugtune_app_board.board import Board
from plugtune_app_board.fields import only, panels
from plugtune_app_board.form import Form, problem_box
from plugtune_app_board.labels import labels
from plugtune_app_board.look import explain
from plugtune_app_board.pages import monitor


def build(board: Board, form: Form) -> monitor.Monitor:
    """The tab; returns its monitor."""
    names = board.host.catalog.names("exporter")
    first = "merged" if "merged" in names else (names[0] if names else None)
    shown_for: list[tuple[Any, tuple[str, ...]]] = []
    with gr.Group():
        with gr.Row():
            form.field(
                "export.exporter",
                gr.Dropdown,
                choices=lambda w: [(w.words.get(f"exporter_{n}", n), n) for n in names],
                value=first,
                scale=2,
            )
            form.field("export.export_dir", gr.Textbox, value="", scale=3)
            form.field("export.export_size", gr.Number, value=5, scale=1)
            form.field("export.infer_dtype", gr.Dropdown, choices=lambda _: ["auto", "float32", "bfloat16", "float16"],
                       value="auto", scale=1)  # fmt: skip
        for name, owners in panels(board.composer.export_fields, "exporter").items():
            with gr.Row(visible=first in owners) as row:
                for item in only(board.composer.export_fields, name):
                    form.option(item)
            shown_for.append((row, owners))
    with form.accordion("export_extra"):
        form.field("export.extra_args", gr.Textbox, value="{}", lines=2)
    with gr.Row(elem_classes="pt-buttons"):
        show = form.button("preview_command", "export_preview_command")
        start = form.button("export", "export_start", variant="primary")
        stop = form.button("abort", "export_abort", variant="stop")
    message = problem_box()
    with gr.Column(visible=False) as shown:
        code = form.make(gr.Code, lambda w: {"label": w("command")}, language="shell", interactive=False,
                         elem_id="export-command", max_lines=20)  # fmt: skip
    watch = monitor.build(board, form, "export")
    at = form.items
    everything = set(form.of("top.", "export."))

    def begin(data: dict[Any, Any]) -> Any:
        values = form.values(data)
        words = labels(str(values.get("top.lang")))
        if board.settings.demo:
            return f'<div class="pt-problems">{words("demo")}</div>'
        try:
            job = board.start(board.composer.export(values, str(time.time_ns())), values)
        except PlugtuneError as error:
            return explain(error)
        return f'<div class="pt-ok">{words("started" if job.state != "queued" else "queued")}</div>'

    def show_command(data: dict[Any, Any]) -> Any:
        try:
            return "", gr.update(visible=True), board.composer.export(form.values(data), "preview").shown()
        except PlugtuneError as error:
            return explain(error), gr.skip(), gr.skip()

    show.click(show_command, everything, [message, shown, code], api_visibility="private")
    start.click(begin, everything, message, concurrency_limit=1, **form.quiet)
    stop.click(monitor.ender(board, "export", board.jobs.abort), at["top.lang"], message, **form.quiet)
    if shown_for:
        at["export.exporter"].change(
            lambda name: [gr.update(visible=name in owners) for _, owners in shown_for], at["export.exporter"],
            [row for row, _ in shown_for], **form.quiet,
        )  # fmt: skip
    return watch

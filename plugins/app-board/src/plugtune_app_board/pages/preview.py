"""The preview of a data set: stored rows and rows as the model will see them, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from plugtune.errors import PlugtuneError

from plugtune_app_board.board import Board
from plugtune_app_board.form import Form, problem_box
from plugtune_app_board.labels import Labels, labels
from plugtune_app_board.look import explain


def build(board: Board, form: Form, button: Any, tab: str) -> None:
    """A group that the button opens; `tab` is the tab whose data set is shown."""
    with gr.Group(visible=False, elem_id=f"{tab}-preview") as group:
        with gr.Row(equal_height=True):
            which = form.make(gr.Dropdown, lambda w: {"label": w("preview_which")}, choices=[], scale=2)
            number = form.make(gr.Number, lambda w: {"label": w("page")}, value=1, precision=0, scale=1, min_width=90)
            count = form.make(
                gr.Textbox, lambda w: {"label": w("pages")}, value="", interactive=False, scale=1, min_width=170
            )
            back = form.button("previous", scale=1, min_width=90)
            on = form.button("next", scale=1, min_width=90)
            close = form.button("close", scale=1, min_width=90)
        problem = problem_box()
        form.make(gr.HTML, lambda w: {"value": legend(w)})
        seen = gr.HTML("", elem_id=f"{tab}-seen", min_height=80)
        with form.make(gr.Accordion, lambda w: {"label": w("as_stored")}, open=False):
            stored = gr.Code("", language="json", elem_id=f"{tab}-stored", interactive=False, max_lines=30)

    everything = set(form.items.values()) | {which, number}

    def show(data: dict[Any, Any], step: int, first: bool) -> Iterator[list[Any]]:
        values, words = form.values(data), labels(str(data[form.items["top.lang"]]))
        chosen = [str(name) for name in values.get(f"{tab}.dataset") or []]
        name = chosen[0] if first or data[which] not in chosen else str(data[which])
        page = 1 if first else int(data[number] or 1) + step
        head = [gr.update(visible=True), gr.update(choices=chosen, value=name)]
        for answer in _page(board, tab, values, name, page, words):
            yield [*head, *answer]

    outputs = [group, which, number, count, stored, seen, problem]

    def opened(data: dict[Any, Any]) -> Iterator[list[Any]]:
        if not data[form.items[f"{tab}.dataset"]]:
            words = labels(str(data[form.items["top.lang"]]))
            note = f'<div class="pt-problems">{words("choose_data")}</div>'
            yield [gr.update(visible=True), gr.update(choices=[], value=None), 1, "", "", "", note]
            return
        yield from show(data, 0, True)

    # The training tab's fields are made after this group: the events are set when the page is complete.
    def wire() -> None:
        inputs = everything | set(form.items.values())
        button.click(opened, inputs, outputs, api_visibility="private")
        for component, step in ((back.click, -1), (on.click, 1), (number.submit, 0), (which.input, 0)):
            component(_turn(show, step), inputs, outputs, api_visibility="private")
        close.click(lambda: gr.update(visible=False), None, group, show_progress="hidden", api_visibility="private")

    form.later.append(wire)


def _turn(show: Callable[..., Iterator[list[Any]]], step: int) -> Callable[[dict[Any, Any]], Iterator[list[Any]]]:
    def turned(data: dict[Any, Any]) -> Iterator[list[Any]]:
        yield from show(data, step, False)

    return turned


def _page(board: Board, tab: str, values: dict[str, Any], name: str, number: int, words: Labels) -> Iterator[list[Any]]:
    """Number, count, stored rows, seen rows, problem: first what is stored, then what the model sees."""
    try:
        page = board.preview.page(name, str(values.get(f"{tab}.dataset_dir") or "data"), number)
    except PlugtuneError as error:
        yield [number, "", "", "", explain(error)]
        return
    count = words("page_count", pages=page.pages, rows=page.total) if page.total is not None else "?"
    if tab != "train":
        values = {**values, "train.training_stage": "sft", "train.dataset_dir": values.get(f"{tab}.dataset_dir")}
    yield [page.number, count, page.as_json(), f'<div class="pt-note">{words("reading_tokenizer")}</div>', ""]
    try:
        seen, problem = board.preview.seen(name, page, values), ""
    except PlugtuneError as error:
        seen, problem = "", explain(error)
    yield [page.number, count, page.as_json(), seen, problem]


def legend(words: Labels) -> str:
    """What the colours mean."""
    return (
        f'<div class="pt-legend"><span class="pt-t pt-on">{words("trained")}</span>'
        f'<span class="pt-t pt-off">{words("context")}</span></div>'
    )

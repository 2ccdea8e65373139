"""The chat: load a model with its adapters, talk to it with streaming, let it go. Also the page of `webchat`."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import gradio as gr
from plugtune.errors import PlugtuneError

from plugtune_app_board.board import Board
from plugtune_app_board.form import Form, problem_box
from plugtune_app_board.labels import labels
from plugtune_app_board.look import explain

GENERATION = ("max_new_tokens", "top_p", "temperature", "top_k", "repetition_penalty", "skip_special_tokens")


def build(board: Board, form: Form, *, loads: bool = True) -> None:
    """The tab; without `loads` the model was loaded when the program started."""
    message = problem_box()
    controls: tuple[Any, ...] = ()
    if loads:
        with gr.Group(), gr.Row(equal_height=True):
            form.field(
                "infer.infer_dtype",
                gr.Dropdown,
                choices=lambda _: ["auto", "float16", "bfloat16", "float32"],
                value="auto",
            )
            form.field("infer.enable_thinking", gr.Checkbox, value=True)
            form.field("infer.extra_args", gr.Textbox, value="{}", lines=1)
            load = form.button("load_model", variant="primary", min_width=140)
            unload = form.button("unload_model", min_width=140)
            controls = (load, unload)
    status = gr.HTML(state_html(board, form.language), elem_id="chat-status", padding=False)
    with gr.Column(visible=not loads, elem_id="chat-box") as box, gr.Row(equal_height=False):
        with gr.Column(scale=3):
            talk = form.make(
                gr.Chatbot, lambda w: {"label": w("tab_chat"), "placeholder": w("chat_empty")}, height=640,
                elem_id="chatbot", reasoning_tags=[("<think>", "</think>")], sanitize_html=True, buttons=["copy"],
                latex_delimiters=[{"left": "$$", "right": "$$", "display": True}],
            )  # fmt: skip
            with gr.Row(equal_height=True):
                query = form.make(gr.Textbox, lambda w: {"placeholder": w("query")}, lines=2, max_lines=8,
                                  show_label=False, scale=5, elem_id="query")  # fmt: skip
                send = form.button("send", variant="primary", scale=1, min_width=100)
                halt = form.button("halt", scale=1, min_width=100)
                clear = form.button("clear", scale=1, min_width=100)
        with gr.Column(scale=1, min_width=280):
            form.field(
                "infer.role",
                gr.Radio,
                choices=lambda w: [(w("role_user"), "user"), (w("role_observation"), "observation")],
                value="user",
            )
            form.field("infer.system", gr.Textbox, value="", lines=2)
            form.field("infer.tools", gr.Textbox, value="", lines=2, max_lines=8)
            with gr.Row():
                form.field("infer.max_new_tokens", gr.Number, value=1024, precision=0, min_width=120)
                form.field("infer.seed", gr.Number, value=-1, precision=0, min_width=120)
            form.field("infer.top_p", gr.Slider, minimum=0.01, maximum=1, value=0.7, step=0.01)
            form.field("infer.temperature", gr.Slider, minimum=0, maximum=1.5, value=0.95, step=0.01)
            with gr.Row():
                form.field("infer.top_k", gr.Number, value=50, precision=0, min_width=120)
                form.field("infer.repetition_penalty", gr.Number, value=1.0, min_width=120)
            form.field("infer.skip_special_tokens", gr.Checkbox, value=True)
            form.field("infer.escape_html", gr.Checkbox, value=True)
    _loading(board, form, message, status, box, talk, controls)
    _talking(board, form, message, talk, query, (send, halt, clear))


def state_html(board: Board, language: str) -> str:
    """Which model is loaded."""
    words = labels(language)
    if not board.talk.loaded:
        return f'<div class="pt-status pt-note">{words("no_model")}</div>'
    title = html.escape(board.talk.title)
    return f'<div class="pt-status"><span class="pt-state finished">{words("model_loaded")}</span> <b>{title}</b></div>'


def _loading(
    board: Board, form: Form, message: Any, status: Any, box: Any, talk: Any, controls: tuple[Any, ...]
) -> None:
    if not controls:
        return
    load, unload = controls
    inputs = set(form.of("top.", "infer."))

    def open_model(data: dict[Any, Any]) -> Iterator[Any]:
        values = form.values(data)
        language = str(values.get("top.lang"))
        words = labels(language)
        if board.settings.demo:
            yield f'<div class="pt-problems">{words("demo")}</div>', gr.skip(), gr.skip()
            return
        yield "", f'<div class="pt-status pt-note">{words("loading")}</div>', gr.skip()
        try:
            board.talk.load(values)
            yield "", state_html(board, language), gr.update(visible=True)
        except PlugtuneError as error:
            yield explain(error), state_html(board, language), gr.update(visible=board.talk.loaded)

    def close_model(language: str) -> Any:
        try:
            board.talk.unload()
        except PlugtuneError as error:
            return explain(error), gr.skip(), gr.skip(), gr.skip()
        return "", state_html(board, language), gr.update(visible=False), []

    load.click(open_model, inputs, [message, status, box], concurrency_limit=1, **form.quiet)
    unload.click(close_model, form.items["top.lang"], [message, status, box, talk], **form.quiet)


def _talking(board: Board, form: Form, message: Any, talk: Any, query: Any, buttons: tuple[Any, Any, Any]) -> None:
    send, halt, clear = buttons
    inputs = {talk, query, form.items["top.lang"], *form.of("infer.")}

    def answer(data: dict[Any, Any]) -> Iterator[Any]:
        values, text = form.values(data), str(data[query] or "")
        history = list(data[talk] or [])
        if not text.strip():
            yield history, text, ""
            return
        entry: dict[str, Any] = {"role": "user", "content": text}
        if values.get("infer.role") == "observation":
            entry["metadata"] = {"title": "observation"}
        asked = [*history, entry]
        yield asked, "", ""
        given = values.get("infer.seed")
        seed = -1 if given is None else int(given)
        generation = {name: values.get(f"infer.{name}") for name in GENERATION} | {
            "do_sample": float(values.get("infer.temperature") or 0) > 0
        }
        try:
            for said in board.talk.ask(
                asked, system=str(values.get("infer.system") or ""), tools=str(values.get("infer.tools") or ""),
                generation=generation, seed=None if seed < 0 else seed,
            ):  # fmt: skip
                shown = escaped(said) if values.get("infer.escape_html", True) else said
                yield [*asked, {"role": "assistant", "content": shown}], "", ""
        except PlugtuneError as error:
            yield history, text, explain(error)

    outputs = [talk, query, message]
    sent = send.click(answer, inputs, outputs, concurrency_limit=4, **form.quiet)
    typed = query.submit(answer, inputs, outputs, concurrency_limit=4, **form.quiet)
    halt.click(None, None, None, cancels=[sent, typed], **form.quiet)
    clear.click(lambda: [], None, talk, cancels=[sent, typed], **form.quiet)


def escaped(text: str) -> str:
    """The answer with its tags shown as text; thoughts stay folded."""
    keep = {"&lt;think&gt;": "<think>", "&lt;/think&gt;": "</think>"}
    shown = html.escape(text, quote=False)
    for tag, real in keep.items():
        shown = shown.replace(tag, real)
    return shown

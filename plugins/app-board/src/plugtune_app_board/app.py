"""Puts the pages together: the board, and the page that only chats."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr
from plugtune.errors import PlugtuneError

from plugtune_app_board import devices, saved
from plugtune_app_board.board import Board
from plugtune_app_board.follow import FORM
from plugtune_app_board.form import Form
from plugtune_app_board.labels import LANGUAGES, Labels, labels
from plugtune_app_board.pages import chat, evaluate, export, monitor, runs, top, train

FONTS = ["ui-sans-serif", "system-ui", "Segoe UI", "Noto Sans", "Noto Sans CJK SC", "Microsoft YaHei", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Consolas", "DejaVu Sans Mono", "monospace"]


def theme() -> Any:
    """Quiet greys with one accent; fonts of the system, so that nothing is fetched."""
    return gr.themes.Default(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="md",
        spacing_size="sm",
        text_size="md",
        font=FONTS,
        font_mono=MONO,
    ).set(block_label_text_weight="600", block_title_text_weight="600", button_large_padding="8px 14px")


def css() -> str:
    """The style sheet of the board."""
    return (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def board_page(board: Board) -> gr.Blocks:
    """The whole board."""
    language = str(board.remembered().get("lang") or "en")
    form = Form(language if language in LANGUAGES else "en")
    with gr.Blocks(title="plugtune board", analytics_enabled=False, fill_width=True) as page:
        form.begin()
        top.build(board, form)
        monitors: list[monitor.Monitor] = []
        with gr.Tabs(selected="train", elem_id="tabs") as form.tabs:
            with form.tab("train"):
                monitors.append(train.build(board, form))
            with form.tab("evaluate"):
                watch, results = evaluate.build(board, form)
                monitors.append(watch)
            with form.tab("chat"):
                chat.build(board, form)
            if not board.settings.demo:
                with form.tab("export"):
                    monitors.append(export.build(board, form))
            with form.tab("runs") as tab:
                listed, targets = runs.build(board, form)
        footer = gr.HTML(memory_html(labels(form.language)), elem_id="memory", padding=False)
        for wire in form.later:
            wire()
        tab.select(listed, form.items["top.lang"], targets, **form.quiet)
        _clock(board, form, monitors, results, footer)
        _languages(board, form)
        _restore(board, form, page, monitors)
    return page


def _clock(board: Board, form: Form, monitors: list[monitor.Monitor], results: Any, footer: Any) -> None:
    language = form.items["top.lang"]
    clock, slow = gr.Timer(2), gr.Timer(5)
    tick, inputs, outputs = monitor.together(monitors, language)
    clock.tick(tick, inputs, outputs, trigger_mode="once", **form.quiet)
    for watch in monitors:
        if watch.plot is not None:
            for event in (watch.metric.input, watch.smoothing.release):
                event(watch.tick, watch.inputs(language), watch.outputs(), **form.quiet)
    shown = gr.State("")

    def look(before: str, language: str) -> Any:
        found = evaluate.results_of(board)
        return memory_html(labels(language)), (found if found != before else gr.skip()), found

    slow.tick(look, [shown, language], [footer, results, shown], **form.quiet)


def _languages(board: Board, form: Form) -> None:
    def change(language: str) -> dict[Any, Any]:
        board.remember(lang=language)
        answer = form.relabel(language)
        chooser = form.items["top.lang"]
        answer[chooser] = gr.update(**{**answer[chooser], "value": language})
        return answer

    form.items["top.lang"].input(change, form.items["top.lang"], form.worded(), **form.quiet)


def _restore(board: Board, form: Form, page: gr.Blocks, monitors: list[monitor.Monitor]) -> None:
    """A page that is loaded anew speaks the chosen language and shows the settings of the run that goes on."""
    ids = [identity for identity in form.items if not identity.startswith("infer.") and identity != "top.lang"]

    def restore() -> dict[Any, Any]:
        language = str(board.remembered().get("lang") or "en")
        found = _running(board, ids)
        answer = form.relabel(language) if language in LANGUAGES and language != form.language else {}
        answer[form.items["top.lang"]] = gr.update(value=language, **answer.get(form.items["top.lang"], {}))
        for identity, value in found.items():
            item = form.items[identity]
            answer[item] = gr.update(**{**answer.get(item, {}), "value": value})
        return answer

    loaded = page.load(restore, None, list({*form.worded(), *form.items.values()}), **form.quiet)
    tick, inputs, outputs = monitor.together(monitors, form.items["top.lang"])
    loaded.then(tick, inputs, outputs, **form.quiet)


def _running(board: Board, ids: list[str]) -> dict[str, Any]:
    job = board.jobs.current()
    if job is None or job.kind != "train":
        return {}
    try:
        values, _ = saved.adopt(saved.read(Path(job.folder) / FORM), ids)
    except PlugtuneError:
        return {}
    return {key: value for key, value in values.items() if key not in ("train.output_dir", "train.config_path")}


def memory_html(words: Labels) -> str:
    """Memory of the machine and of its devices, as bars."""
    used, total = devices.memory()
    parts = [_bar(words("memory_cpu"), used, total)]
    for device in devices.devices():
        parts.append(_bar(f"{device.index}: {device.name}", device.used, device.total))
    return f'<div class="pt-memory">{"".join(parts)}</div>'


def _bar(name: str, used: int, total: int) -> str:
    share = 100 * used / total if total else 0
    return (
        f'<span>{html.escape(name)} <span class="pt-bar"><i style="width:{share:.0f}%"></i></span>'
        f"{used / 2**30:.1f} / {total / 2**30:.1f} GiB</span>"
    )


def chat_page(board: Board, language: str) -> gr.Blocks:
    """The page that only chats, with a model that is loaded already."""
    form = Form(language)
    with gr.Blocks(title="plugtune chat", analytics_enabled=False, fill_width=True) as page:
        form.begin()
        with gr.Row(equal_height=True):
            form.make(
                gr.HTML,
                lambda w: {"value": f'<div class="pt-head"><h1>{w("tab_chat")}</h1></div>'},
                scale=6,
                padding=False,
            )
            form.field("top.lang", gr.Dropdown, choices=lambda _: [(n, c) for c, n in LANGUAGES.items()],
                       value=form.language, scale=1, min_width=140, filterable=False)  # fmt: skip
        chat.build(board, form, loads=False)
        form.items["top.lang"].input(form.relabel, form.items["top.lang"], form.worded(), **form.quiet)
    return page

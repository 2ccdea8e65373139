"""The training tab: stage, data, every option, and the buttons; what runs is shown by `pages.monitor`."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from plugtune.errors import PlugtuneError

from plugtune_app_board import saved
from plugtune_app_board.board import Board
from plugtune_app_board.boxes import COMPUTE
from plugtune_app_board.devices import devices
from plugtune_app_board.fields import only, panels
from plugtune_app_board.form import Form, problem_box, rows
from plugtune_app_board.labels import Labels, labels
from plugtune_app_board.look import explain
from plugtune_app_board.pages import check, monitor, preview


def build(board: Board, form: Form) -> monitor.Monitor:
    """The tab; returns its monitor, which the page's clock drives."""
    kept = board.remembered()
    folder = str(kept.get("dataset_dir") or "data")
    with gr.Group(), gr.Row(equal_height=True):
        form.field("train.training_stage", gr.Dropdown, choices=lambda w: stages(board, w), value="sft", scale=2)
        form.field("train.dataset_dir", gr.Textbox, value=folder, scale=1)
        form.field("train.dataset", gr.Dropdown, choices=lambda _: board.known.datasets(folder, "sft"), value=[],
                   multiselect=True, allow_custom_value=True, scale=3)  # fmt: skip
        look = form.button("preview_data", scale=0, min_width=150)
    preview.build(board, form, look, "train")
    owned = _options(board, form)
    _run(board, form)
    with gr.Row(elem_classes="pt-buttons"):
        show = form.button("preview_command")
        ahead = form.button("check_before")
        store = form.button("save_args")
        fetch = form.button("load_args")
        start = form.button("start", variant="primary")
        stop = form.button("stop")
        abort = form.button("abort", variant="stop")
    message = problem_box()
    with gr.Column(visible=False) as shown:
        command = form.make(
            gr.Code,
            lambda w: {"label": w("command")},
            language="shell",
            elem_id="command",
            interactive=False,
            lines=3,
            max_lines=22,
            wrap_lines=True,
        )
        file = form.make(
            gr.Code,
            lambda w: {"label": w("command_file")},
            language="yaml",
            elem_id="command-file",
            interactive=False,
            lines=3,
            max_lines=14,
        )
    report = gr.HTML("", elem_classes="pt-message", padding=False, elem_id="report")
    watch = monitor.build(board, form, "train")
    _follow(board, form, owned)
    _buttons(board, form, message, shown, (command, file), report, (show, ahead, store, fetch, start, stop, abort))
    return watch


def stages(board: Board, words: Labels) -> list[tuple[str, str]]:
    """Installed stages with their names in a language."""
    return [(words.words.get(f"stage_{name}", name), name) for name in board.known.stages()]


def _options(board: Board, form: Form) -> dict[str, Any]:
    """Every option in its panel; returns the panels of stages and methods, which come and go."""
    fields = board.composer.fields
    basic = only(fields, "basic")
    with gr.Group():
        for number, line in enumerate(rows(basic, 5)):
            with gr.Row():
                for item in line:
                    form.option(item)
                if number == len(rows(basic, 5)) - 1:
                    form.field("train.compute_type", gr.Dropdown, choices=lambda _: list(COMPUTE), value="auto")
    owned: dict[str, Any] = {}
    with form.accordion("extra"):
        _grid(form, only(fields, "extra"))
        form.field("train.extra_args", gr.Textbox, value="{}", lines=2, max_lines=8)
    for kind, current in (("method", "lora"), ("stage", "sft")):
        for name, owners in panels(fields, kind).items():
            with form.accordion(name, visible=current in owners) as panel:
                _grid(form, only(fields, name))
            owned[name] = panel
    optimizers = panels(fields, "optimizer")
    if optimizers:
        with form.accordion("optimizers"):
            for name in optimizers:
                with form.accordion(name):
                    _grid(form, only(fields, name))
    for panel_name in ("data", "model", "run"):
        with form.accordion(panel_name):
            _grid(form, only(fields, panel_name))
    with form.accordion("trainer"):
        for topic in dict.fromkeys(item.panel for item in fields if item.panel.startswith("trainer ")):
            with form.accordion(topic):
                _grid(form, only(fields, topic))
    return owned


def _grid(form: Form, fields: list[Any]) -> None:
    """Boxes four to a row, then ticks."""
    ticks = [item for item in fields if item.spec.type == "bool" and not item.spec.nullable]
    for group in ([item for item in fields if item not in ticks], ticks):
        for line in rows(group, 4):
            with gr.Row():
                for item in line:
                    form.option(item)
                for _ in range(4 - len(line) if len(group) > 4 else 0):
                    gr.HTML("", padding=False, min_width=160)


def _run(board: Board, form: Form) -> None:
    found = devices()
    with gr.Group():
        with gr.Row():
            form.field(
                "train.output_dir",
                gr.Dropdown,
                choices=lambda _: board.known.runs(str(form.items["top.model_name"].value), "lora"),
                value=fresh("train"),
                allow_custom_value=True,
                scale=2,
            )
            form.field(
                "train.existing",
                gr.Radio,
                choices=lambda w: [(w("resume"), "resume"), (w("restart"), "restart")],
                value="resume",
                visible=False,
                scale=2,
            )
            form.field(
                "train.config_path",
                gr.Dropdown,
                choices=lambda _: saved.names(board.configs),
                value=f"{time.strftime('%Y-%m-%d-%H-%M-%S')}.yaml",
                allow_custom_value=True,
                scale=2,
            )
            form.field("train.processes", gr.Number, value=1, precision=0, visible=not found, scale=1, min_width=120)
        has_deepspeed = importlib.util.find_spec("deepspeed") is not None
        with gr.Row(visible=bool(found) or has_deepspeed):
            form.field(
                "train.devices",
                gr.CheckboxGroup,
                choices=lambda _: [(f"{d.index}: {d.name}", d.index) for d in found],
                value=[d.index for d in found],
                visible=bool(found),
                scale=3,
            )
            form.field("train.ds_stage", gr.Dropdown, choices=lambda w: [(w("none"), "none"), "2", "3"], value="none",
                       visible=has_deepspeed)  # fmt: skip
            form.field("train.ds_offload", gr.Checkbox, value=False, visible=has_deepspeed)


def fresh(kind: str) -> str:
    """The name of a run that begins now."""
    return f"{kind}_{time.strftime('%Y-%m-%d-%H-%M-%S')}"


def _follow(board: Board, form: Form, owned: dict[str, Any]) -> None:
    """What depends on the stage, the method, the data folder and the name of the run."""
    at, known = form.items, board.known
    stage, method, folder, dataset = (
        at[f"{i}"] for i in ("train.training_stage", "top.finetuning_type", "train.dataset_dir", "train.dataset")
    )
    model, name = at["top.model_name"], at["train.output_dir"]

    def show_panels(stage_name: str, method_name: str) -> list[Any]:
        wanted = {"stage": known.stage(stage_name).name, "method": method_name}
        parts = [key.partition(" ") for key in owned]
        return [gr.update(visible=wanted[kind] in names.split("+")) for kind, _, names in parts]

    def list_data(folder_name: str, stage_name: str) -> Any:
        board.remember(dataset_dir=folder_name)
        return gr.update(choices=known.datasets(folder_name, stage_name))

    def existing(model_name: str, method_name: str, run: str) -> Any:
        folder = known.save_folder(model_name, method_name) / str(run or "")
        there = bool(run) and "/" not in run and any(folder.glob("checkpoint-*"))
        return gr.update(visible=there)

    for event in (stage.change, method.change):
        event(show_panels, [stage, method], list(owned.values()), **form.quiet)
    stage.input(lambda f, s: gr.update(choices=known.datasets(f, s), value=[]), [folder, stage], dataset, **form.quiet)
    for event in (dataset.focus, folder.blur):
        event(list_data, [folder, stage], dataset, **form.quiet)
    name.focus(lambda m, k: gr.update(choices=known.runs(m, k)), [model, method], name, **form.quiet)
    for event in (name.change, method.change):
        event(existing, [model, method, name], at["train.existing"], **form.quiet)
    at["train.config_path"].focus(
        lambda: gr.update(choices=saved.names(board.configs)), None, at["train.config_path"], **form.quiet
    )


def _buttons(
    board: Board, form: Form, message: Any, shown: Any, code: tuple[Any, Any], report: Any, buttons: tuple[Any, ...]
) -> None:
    show, ahead, store, fetch, start, stop, abort = buttons
    everything = set(form.items.values())
    at = form.items

    def told(work: Callable[[dict[str, Any], Labels], Any], failed: int) -> Any:
        """An event that answers with a message, or with what is wrong."""

        def event(data: dict[Any, Any]) -> Any:
            values = form.values(data)
            try:
                return work(values, labels(str(values.get("top.lang"))))
            except PlugtuneError as error:
                return (explain(error), *[gr.skip()] * failed) if failed else explain(error)

        return event

    def show_command(values: dict[str, Any], words: Labels) -> Any:
        order = board.composer.train(values)
        return "", gr.update(visible=True), order.shown(), order.yaml()

    def begin(values: dict[str, Any], words: Labels) -> Any:
        if board.settings.demo:
            return f'<div class="pt-problems">{words("demo")}</div>', gr.skip()
        order = board.composer.train(values)
        busy = [job for job in board.jobs.all() if job.active and job.folder == str(order.folder)]
        if busy:
            return f'<div class="pt-problems">{words("same_folder")}</div>', gr.skip()
        job = board.start(order, values)
        return f'<div class="pt-ok">{words("started" if job.state != "queued" else "queued")}</div>', fresh("train")

    def keep(values: dict[str, Any], words: Labels) -> str:
        if board.settings.demo:
            return f'<div class="pt-problems">{words("demo")}</div>'
        path = saved.save(board.configs, board.settings.roots, str(values.get("train.config_path") or ""), values)
        return f'<div class="pt-ok">{words("saved", name=path.name)}</div>'

    show.click(told(show_command, 3), everything, [message, shown, *code], api_visibility="private")
    start.click(told(begin, 1), everything, [message, at["train.output_dir"]], concurrency_limit=1, **form.quiet)
    store.click(told(keep, 0), everything, message, **form.quiet)
    ahead.click(lambda data: check.report(board, form.values(data)), everything, report, api_visibility="private")
    load_into(
        board,
        form,
        fetch.click,
        at["train.config_path"],
        message,
        lambda text: saved.load(board.configs, board.settings.roots, text),
    )
    for button, ask in ((stop, board.jobs.stop), (abort, board.jobs.abort)):
        button.click(monitor.ender(board, "train", ask), at["top.lang"], message, **form.quiet)


def load_into(
    board: Board, form: Form, event: Any, source: Any, message: Any, read: Callable[[str], dict[str, Any]]
) -> None:
    """Fill the page with saved settings on an event; ids that have no place here are told."""
    targets = [identity for identity in form.items if identity not in ("top.lang", "train.config_path")]

    def fill(text: str, language: str) -> Any:
        words = labels(language)
        try:
            found, unknown = saved.adopt(read(text), targets)
        except PlugtuneError as error:
            return [explain(error), *[gr.skip()] * len(targets)]
        note = f'<div class="pt-ok">{words("loaded", count=len(found))}</div>'
        if unknown:
            import html

            lines = "".join(f"<li>{html.escape(line)}</li>" for line in unknown)
            note += f'<div class="pt-problems">{words("not_loaded")}<ul>{lines}</ul></div>'
        return [note, *(gr.update(value=found[i]) if i in found else gr.skip() for i in targets)]

    event(fill, [source, form.items["top.lang"]], [message, *(form.items[i] for i in targets)], **form.quiet)


def read_run(board: Board, text: str) -> dict[str, Any]:
    """The page's settings of an earlier run, named as `MODEL/METHOD/RUN`."""
    from plugtune_app_board.follow import FORM

    folder = board.settings.roots.inside(Path("saves") / text, "run")
    return saved.read(folder / FORM)

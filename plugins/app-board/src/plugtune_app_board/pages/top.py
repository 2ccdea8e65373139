"""The top of the board: language, model, method, adapters, template, quantization."""

from __future__ import annotations

import html
import json
import socket
from typing import Any

import gradio as gr
from plugtune.errors import PlugtuneError
from plugtune.modeling.locate import chosen_hub

from plugtune_app_board.board import Board
from plugtune_app_board.boxes import BOOSTERS
from plugtune_app_board.form import Form
from plugtune_app_board.known import CUSTOM
from plugtune_app_board.labels import LANGUAGES, Labels, labels

ROPE = ("none", "linear", "dynamic", "yarn", "llama3")


def build(board: Board, form: Form) -> None:
    """Components and what they do to each other."""
    known, kept = board.known, board.remembered()
    model = str(kept.get("model") or CUSTOM)
    hub = chosen_hub(board.host.catalog).name
    path = str(kept.get("paths", {}).get(model) or known.path_of(model, hub))
    with gr.Row(equal_height=True):
        form.make(gr.HTML, lambda words: {"value": _heading(words)}, scale=6, padding=False)
        form.field(
            "top.lang", gr.Dropdown, choices=lambda _: [(name, code) for code, name in LANGUAGES.items()],
            value=form.language, scale=1, min_width=140, filterable=False,
        )  # fmt: skip
    with gr.Group():
        with gr.Row():
            models = [CUSTOM, *sorted(known.models(), key=str.lower)]
            form.field(
                "top.model_name",
                gr.Dropdown,
                choices=lambda words: [(words("custom") if m == CUSTOM else m, m) for m in models],
                value=model,
                allow_custom_value=True,
                scale=2,
            )
            form.field("top.model_path", gr.Textbox, value=path, scale=3)
            hubs = [item.name for item in known.hubs()]
            form.field("top.hub_name", gr.Dropdown, choices=lambda _: hubs, value=hub, scale=1)
        with gr.Row():
            form.field("top.finetuning_type", gr.Dropdown, choices=lambda words: _methods(board, words),
                       value="lora" if "lora" in known.methods() else known.methods()[0], scale=1)  # fmt: skip
            form.field("top.checkpoint_path", gr.Dropdown, choices=lambda _: known.adapters(model, "lora"), value=[],
                       multiselect=True, allow_custom_value=True, scale=3)  # fmt: skip
            form.field("top.template", gr.Dropdown, choices=lambda _: known.templates(),
                       value=known.template_of(model, path), allow_custom_value=True, scale=2)  # fmt: skip
            refresh = form.button("refresh", scale=0, min_width=120)
        with form.accordion("advanced"):
            _advanced(board, form)
    warning = gr.HTML("", elem_classes="pt-message", padding=False, elem_id="template-warning")
    _wire(board, form, warning, refresh)


def _advanced(board: Board, form: Form) -> None:
    with gr.Row():
        form.field("top.quantization_bit", gr.Dropdown, choices=lambda words: _bits(board, "lora", words), value="none")
        form.field("top.quantization_method", gr.Dropdown, choices=lambda _: ["bnb"], value="bnb")
        form.field("top.rope_scaling", gr.Dropdown, choices=lambda _: list(ROPE), value="none")
        form.field("top.booster", gr.Dropdown, choices=lambda _: list(BOOSTERS), value="auto")
        if board.settings.allow_code:
            form.field("top.trust_remote_code", gr.Checkbox, value=False)


def _heading(words: Labels) -> str:
    host = html.escape(socket.gethostname())
    return f'<div class="pt-head"><h1>{words("title")}</h1><span>{words("subtitle", host=host)}</span></div>'


def _methods(board: Board, words: Labels) -> list[tuple[str, str]]:
    return [(words.words.get(f"method_{name}", name), name) for name in board.known.methods()]


def _bits(board: Board, method: str, words: Labels) -> list[tuple[str, str]]:
    bits = board.known.method(method).quantization if method in board.known.methods() else ()
    return [(words("none"), "none"), *((f"{bit}-bit", str(bit)) for bit in sorted(bits, reverse=True))]


def _wire(board: Board, form: Form, warning: Any, refresh: Any) -> None:
    known, at = board.known, form.items
    model, path, hub = at["top.model_name"], at["top.model_path"], at["top.hub_name"]
    method, adapters, template = at["top.finetuning_type"], at["top.checkpoint_path"], at["top.template"]
    lang, bits = at["top.lang"], at["top.quantization_bit"]

    def choose_model(name: str, hub_name: str, kind: str, old_path: str) -> Any:
        kept = board.remembered().get("paths", {}).get(name)
        found = kept or known.path_of(name, hub_name) or (old_path if name == CUSTOM else "")
        board.remember(model=name)
        return found, known.template_of(name, found), gr.update(choices=known.adapters(name, kind), value=[])

    def choose_hub(name: str, hub_name: str, old_path: str) -> str:
        ids = set(known.models()[name][1].hub.values()) if name in known.models() else set()
        return known.path_of(name, hub_name) if not old_path or old_path in ids else old_path

    def choose_method(name: str, kind: str, language: str) -> Any:
        quantized = bool(known.method(kind).quantization)
        single = not known.method(kind).saves_adapter
        return (
            gr.update(choices=known.adapters(name, kind), value=[], max_choices=1 if single else None),
            gr.update(choices=_bits(board, kind, labels(language)), value="none", interactive=quantized),
            gr.update(interactive=quantized),
        )

    def again(name: str, kind: str) -> Any:
        return gr.update(choices=known.adapters(name, kind))

    def keep_path(name: str, text: str) -> None:
        if text.strip() != known.path_of(name, chosen_hub(board.host.catalog).name):
            board.remember(paths={name: text.strip()})

    watched = [model, path, template, lang]
    judged = model.input(choose_model, [model, hub, method, path], [path, template, adapters], **form.quiet)
    judged.then(lambda *v: judge(board, *v), watched, warning, **form.quiet)
    hub.input(choose_hub, [model, hub, path], path, **form.quiet)
    method.change(choose_method, [model, method, lang], [adapters, bits, at["top.quantization_method"]], **form.quiet)
    for event in (adapters.focus, refresh.click):
        event(again, [model, method], adapters, **form.quiet)
    path.blur(keep_path, [model, path], None, **form.quiet)
    for event in (path.blur, template.input):
        event(lambda *v: judge(board, *v), watched, warning, **form.quiet)


def judge(board: Board, model: str, path: str, template: str, language: str) -> str:
    """A warning when the template does not fit the model, or a base model has no template of its own."""
    words = labels(language)
    found = board.known.models().get(model)
    wanted = ""
    if found is not None and found[1].chat:
        wanted = found[1].template or found[0].template
    has_own = _has_template(board, path)
    if template == "auto":
        text = "" if has_own in (None, True) else words("warn_no_template")
    elif template == "default":
        text = words("warn_default")
    elif wanted and template != wanted:
        text = words("warn_template", template=html.escape(template), wanted=html.escape(wanted))
    else:
        text = words("warn_own", template=html.escape(template)) if has_own and not wanted else ""
    return f'<div class="pt-problems">{text}</div>' if text else ""


def _has_template(board: Board, path: str) -> bool | None:
    """Whether a local model's tokenizer has a chat template; `None` when there is no such folder."""
    try:
        folder = board.settings.roots.inside(path or ".", "model")
    except PlugtuneError:
        return None
    if not path or not (folder / "tokenizer_config.json").is_file():
        return None
    if (folder / "chat_template.jinja").is_file():
        return True
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError):
        return None

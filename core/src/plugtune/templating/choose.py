"""From what `--template` says to a template on a tokenizer, and the warning when they do not belong together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugtune.catalog import Catalog
from plugtune.errors import RequestError, did_you_mean
from plugtune.templating.auto import TokenizerTemplate
from plugtune.templating.bound import BoundTemplate
from plugtune.templating.load import load_template
from plugtune.templating.model import ChatTemplate
from plugtune.templating.render import RenderOptions
from plugtune.templating.tools import STYLE_ALIASES, STYLES
from plugtune.templating.verify import PLAIN, PROBES, first_difference

if TYPE_CHECKING:
    from plugtune.templating.api import TemplateOnTokenizer

AUTO = "auto"
"""The name that stands for the tokenizer's own chat template."""


def find(name: str, catalog: Catalog) -> ChatTemplate:
    """A template by name, or from a YAML file.

    Raises:
        RequestError: `auto`, which is no template until there is a tokenizer; or the file is wrong.
        PluginError: no plugin provides the template.
    """
    if name == AUTO:
        raise RequestError(
            "template auto is the tokenizer's own chat template, and no tokenizer is given", where="template",
            fix="name the model's folder (--tokenizer DIR, --model_name_or_path …), or a template "
            "(plugtune list templates)",
        )  # fmt: skip
    if name.endswith((".yaml", ".yml")):
        return load_template(Path(name))
    template: ChatTemplate = catalog.get("template", name)
    return template


def tool_style(tool_format: str | None) -> str:
    """The tool style that `--tool_format` names; empty when nothing was named.

    Raises:
        RequestError: there is no such style.
    """
    style = STYLE_ALIASES.get(tool_format or "", tool_format or "")
    if style and style not in STYLES:
        near = did_you_mean(style, (*STYLES, *STYLE_ALIASES))
        raise RequestError(
            f"unknown tool format {tool_format!r}", where="tool_format", fix=near or f"one of {', '.join(STYLES)}"
        )
    return style


def bind(
    name: str,
    catalog: Catalog,
    tokenizer: Any,
    *,
    enable_thinking: bool = True,
    default_system: str | None = None,
    tool_format: str | None = None,
) -> TemplateOnTokenizer:
    """The template on the tokenizer.

    Raises:
        PluginError: no plugin provides the template.
        RequestError: the tokenizer lacks what the template needs, or `auto` has no chat template to use.
    """
    style = tool_style(tool_format)
    if name == AUTO:
        if style:
            raise RequestError(
                "tool_format has no effect with template auto", where="tool_format",
                why="the tokenizer's own chat template writes tools in its own way",
                fix="leave tool_format out, or name a template with --template",
            )  # fmt: skip
        return TokenizerTemplate(tokenizer, enable_thinking=enable_thinking, default_system=default_system)
    return BoundTemplate(find(name, catalog), tokenizer, RenderOptions(default_system, enable_thinking, style))


def mismatch(template: Any, model_type: str) -> str:
    """A warning when a template does not fit the tokenizer or the model; empty when nothing speaks against it."""
    if not isinstance(template, BoundTemplate):
        return ""
    missing = template.missing_tokens()
    if missing:
        return (
            f"template {template.name} writes {', '.join(missing)}, which this tokenizer splits into pieces: "
            "the model was probably trained with another template (auto uses its own)"
        )
    return "; ".join(filter(None, (_other_model(template, model_type), _other_chat(template))))


def _other_model(template: BoundTemplate, model_type: str) -> str:
    usual = template.template.model_types
    if not usual or not model_type or model_type in usual:
        return ""
    return f"template {template.name} is the usual one of {', '.join(usual)} models, and this model is {model_type}"


def _other_chat(template: BoundTemplate) -> str:
    """How the tokenizer's own chat template writes a plain chat otherwise; a few renderings, no model is needed."""
    own = getattr(template.tokenizer, "chat_template", None)
    if not isinstance(own, str) or not own:
        return ""
    difference = first_difference(template, own, {PLAIN: PROBES[:3]})
    if difference is None:
        return ""
    return (
        f"the model's own chat template writes a plain chat otherwise than template {template.name} ({difference}); "
        "--template auto uses the model's own"
    )

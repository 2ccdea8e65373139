"""From what `--template` says to a template on a tokenizer, and the warning when they do not belong together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugtune.catalog import Catalog
from plugtune.errors import RequestError
from plugtune.templating.auto import TokenizerTemplate
from plugtune.templating.bound import BoundTemplate
from plugtune.templating.load import load_template
from plugtune.templating.model import ChatTemplate
from plugtune.templating.render import RenderOptions
from plugtune.templating.tools import STYLE_ALIASES, STYLES

if TYPE_CHECKING:
    from plugtune.templating.api import TemplateOnTokenizer


def find(name: str, catalog: Catalog) -> ChatTemplate:
    """A template by name, or from a YAML file."""
    if name.endswith((".yaml", ".yml")):
        return load_template(Path(name))
    template: ChatTemplate = catalog.get("template", name)
    return template


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
    if name == "auto":
        return TokenizerTemplate(tokenizer, enable_thinking=enable_thinking, default_system=default_system)  # type: ignore[return-value]
    style = STYLE_ALIASES.get(tool_format or "", tool_format or "")
    if style and style not in STYLES:
        raise RequestError(
            f"unknown tool format {tool_format!r}", where="tool_format", fix=f"one of {', '.join(STYLES)}"
        )
    template = find(name, catalog)
    return BoundTemplate(template, tokenizer, RenderOptions(default_system, enable_thinking, style))  # type: ignore[return-value]


def mismatch(template: Any, model_type: str) -> str:
    """A warning when a template does not fit the tokenizer; an empty string when nothing speaks against it."""
    if not isinstance(template, BoundTemplate):
        return ""
    missing = template.missing_tokens()
    if missing:
        return (
            f"template {template.name} writes {', '.join(missing)}, which this tokenizer splits into pieces: "
            "the model was probably trained with another template (auto uses its own)"
        )
    return ""

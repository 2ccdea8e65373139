"""The shapes in which styles show a tool: in Python, and the same as a Jinja expression of `tool`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plugtune.templating.tools.fragments import FUNCTION, WRAPPED
from plugtune.templating.tools.style import function_of, wrapped

Shape = Callable[[Mapping[str, Any]], Mapping[str, Any]]

SHAPES: dict[str, tuple[Shape, str]] = {
    "function": (function_of, FUNCTION),
    "wrapped": (wrapped, WRAPPED),
}
"""The function alone, and the function in the OpenAI wrapping."""

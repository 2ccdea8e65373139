"""What a tool style is, and the few things that all styles share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from plugtune.data.records import ToolCall


@dataclass(frozen=True, slots=True)
class JinjaTools:
    """A style as Jinja, so that an exported chat template writes what training wrote.

    Attributes:
        describe: statements that write the description of `tools`.
        calls: statements that write `calls`, the `tool_calls` of a message in the OpenAI shape.
        helpers: macros that the two use.
    """

    describe: str
    calls: str
    helpers: str = ""


class ToolStyle(Protocol):
    """How tools are described to a model, how its calls are written, and how they are read back."""

    @property
    def jinja(self) -> JinjaTools | None:
        """The same as Jinja; `None` when it cannot be written so, then an exported template refuses tools."""
        ...

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        """What stands behind the system prompt."""
        ...

    def calls(self, calls: Sequence[ToolCall]) -> str:
        """The content of an answer that calls tools.

        Raises:
            RowError: this style cannot write these calls.
        """
        ...

    def parse(self, text: str) -> tuple[str, list[ToolCall]]:
        """Generated text as (what is said besides, calls); the text itself and no calls when nothing can be read."""
        ...


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON as models see it: other scripts are written as they are."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def function_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The function of a tool, with or without the OpenAI wrapping."""
    function: Mapping[str, Any] = tool.get("function", tool)
    return function


def wrapped(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool in the OpenAI wrapping."""
    return tool if tool.get("type") == "function" else {"type": "function", "function": tool}


def value_text(value: Any) -> str:
    """An argument between tags: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json_text(value)


def value_of(text: str) -> Any:
    """An argument that stood between tags: JSON when it is JSON, else the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def call_of(value: Any, arguments: str = "arguments") -> ToolCall | None:
    """A call from its JSON object; `None` when it is no call."""
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str) or not value["name"]:
        return None
    given = value.get(arguments)
    return ToolCall(value["name"], given) if isinstance(given, Mapping) else None


def calls_of(text: str, arguments: str = "arguments") -> list[ToolCall]:
    """Calls from JSON: one object or a list of them; empty unless everything is a call."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    found = [call_of(item, arguments) for item in (value if isinstance(value, list) else [value])]
    return [call for call in found if call is not None] if all(found) else []


def said_and_calls(text: str, read: Callable[[str], list[ToolCall]]) -> tuple[str, list[ToolCall]]:
    """Splits text whose calls are not marked: they are what can be read from the start of a line to the end."""
    lines = text.strip().splitlines(keepends=True)
    for number in range(len(lines)):
        calls = read("".join(lines[number:]))
        if calls:
            return "".join(lines[:number]).strip(), calls
    return text, []

"""`Action:` / `Action Input:` lines, for models without a format of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from plugtune.data.records import ToolCall
from plugtune.templating.tools.fragments import ARGUMENTS, each, each_call, each_tool, literal, when, write
from plugtune.templating.tools.style import JinjaTools, function_of, json_text

ACTION = re.compile(r"Action:[ \t]*(?P<name>[^\n]+?)[ \t]*\n\s*Action Input:[ \t]*")
INTRODUCTION = "You have access to the following tools:\n"
FORMAT = (
    "Use the following format if using a tool:\n```\nAction: tool name (one of [",
    "])\nAction Input: the input to the tool, in a JSON format representing the kwargs "
    '(e.g. ```{"input": "hello world", "num_beams": 5}```)\n```\n',
)


class ReAct:
    """Calls are lines that name an action and its input."""

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        functions = [function_of(tool) for tool in tools]
        names = ", ".join(f["name"] for f in functions)
        return INTRODUCTION + "".join(_tool(f) for f in functions) + names.join(FORMAT)

    def calls(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(f"Action: {call.name}\nAction Input: {json_text(dict(call.arguments))}" for call in calls)

    def parse(self, text: str) -> tuple[str, list[ToolCall]]:
        """Reads actions up to the first line that is none: what a model dreams up behind them is no call."""
        first = ACTION.search(text)
        if first is None:
            return text, []
        calls: list[ToolCall] = []
        action: re.Match[str] | None = first
        while action is not None:
            start = re.compile(r"[`\"\s]*").match(text, action.end())
            try:
                arguments, end = json.JSONDecoder().raw_decode(text, start.end() if start else action.end())
            except (ValueError, RecursionError):
                return text, []
            if not isinstance(arguments, dict):
                return text, []
            calls.append(ToolCall(action["name"], arguments))
            action = ACTION.match(text, _skip(text, end))
        return text[: first.start()].rstrip(), calls

    @property
    def jinja(self) -> JinjaTools:
        names = each_tool(write("function.name"), ", ")
        return JinjaTools(
            literal(INTRODUCTION) + each_tool(_TOOL) + literal(FORMAT[0]) + names + literal(FORMAT[1]),
            each_call(
                literal("Action: ") + write("function.name") + literal("\nAction Input: ") + write(ARGUMENTS), "\n"
            ),
        )


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in '`" \t\r\n':
        position += 1
    return position


def _tool(function: Mapping[str, Any]) -> str:
    parameters = function.get("parameters") or {}
    required = parameters.get("required") or []
    properties = parameters.get("properties") or {}
    lines = "".join(_parameter(name, value, name in required) for name, value in properties.items())
    return (
        f"> Tool Name: {function['name']}\nTool Description: {function.get('description', '')}\nTool Args:\n{lines}\n"
    )


def _parameter(name: str, parameter: Mapping[str, Any], required: bool) -> str:
    need = ", required" if required else ""
    enum = f", should be one of [{', '.join(map(str, parameter['enum']))}]" if parameter.get("enum") else ""
    items = parameter.get("items")
    each_item = f", where each item should be {items.get('type', '')}" if items else ""
    return f"  - {name} ({parameter.get('type', '')}{need}): {parameter.get('description', '')}{enum}{each_item}\n"


_PARAMETER = (
    write("'  - ' ~ name ~ ' (' ~ parameter.get('type', '')")
    + when("name in required", literal(", required"))
    + write("'): ' ~ parameter.get('description', '')")
    + when("parameter.get('enum')", write("', should be one of [' ~ (parameter.get('enum') | join(', ')) ~ ']'"))
    + when("parameter.get('items')", write("', where each item should be ' ~ parameter.get('items').get('type', '')"))
    + literal("\n")
)

_TOOL = (
    write("'> Tool Name: ' ~ function.name ~ '\\nTool Description: ' ~ function.get('description', '')")
    + literal("\nTool Args:\n")
    + "{%- set parameters = function.get('parameters') or {} -%}"
    + "{%- set required = parameters.get('required') or [] -%}"
    + each("name, parameter", "(parameters.get('properties') or {}).items()", _PARAMETER)
    + literal("\n")
)

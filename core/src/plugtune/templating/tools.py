"""Tool styles: how tools are described to a model and how its calls are written.

Each style turns tools and calls into text; the wrapping of results belongs to a template's `tool` pieces. The texts are
the formats that the models were trained on (as LLaMA-Factory and the models' own chat templates write them).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from plugtune.data.records import ToolCall


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    return tool.get("function", tool)


class ToolStyle(Protocol):
    """Text for tools and calls."""

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        """What stands behind the system prompt."""
        ...

    def calls(self, calls: Sequence[ToolCall]) -> str:
        """The content of an answer that calls tools."""
        ...


class ReAct:
    """`Action:` / `Action Input:` lines, for models without a format of their own."""

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        functions = [_function(tool) for tool in tools]
        names = ", ".join(f["name"] for f in functions)
        text = "".join(_react_tool(f) for f in functions)
        return (
            f"You have access to the following tools:\n{text}"
            "Use the following format if using a tool:\n```\n"
            f"Action: tool name (one of [{names}])\n"
            "Action Input: the input to the tool, in a JSON format representing the kwargs "
            '(e.g. ```{"input": "hello world", "num_beams": 5}```)\n```\n'
        )

    def calls(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(f"Action: {call.name}\nAction Input: {_json(dict(call.arguments))}" for call in calls)


def _react_tool(function: Mapping[str, Any]) -> str:
    parameters = function.get("parameters", {})
    required = parameters.get("required", [])
    lines = "".join(_react_parameter(n, p, n in required) for n, p in parameters.get("properties", {}).items())
    description = function.get("description", "")
    return f"> Tool Name: {function['name']}\nTool Description: {description}\nTool Args:\n{lines}\n"


def _react_parameter(name: str, parameter: Mapping[str, Any], required: bool) -> str:
    need = ", required" if required else ""
    enum = f", should be one of [{', '.join(parameter['enum'])}]" if parameter.get("enum") else ""
    items = parameter.get("items")
    each = f", where each item should be {items.get('type', '')}" if items else ""
    return f"  - {name} ({parameter.get('type', '')}{need}): {parameter.get('description', '')}{enum}{each}\n"


class ToolCallTags:
    """`<tools>` in the system prompt and `<tool_call>` blocks in answers (Hermes; Qwen2.5 and later)."""

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        lines = "".join("\n" + _json({"type": "function", "function": _function(tool)}) for tool in tools)
        return (
            "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
            "You are provided with function signatures within <tools></tools> XML tags:\n"
            f"<tools>{lines}\n</tools>\n\n"
            "For each function call, return a json object with function name and arguments within "
            "<tool_call></tool_call> XML tags:\n"
            '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
        )

    def calls(self, calls: Sequence[ToolCall]) -> str:
        blocks = (_json({"name": call.name, "arguments": dict(call.arguments)}) for call in calls)
        return "\n".join(f"<tool_call>\n{block}\n</tool_call>" for block in blocks)


STYLES: dict[str, ToolStyle] = {"react": ReAct(), "tool_call_tags": ToolCallTags()}
"""Tool style by the name that templates use."""

STYLE_ALIASES = {"default": "react", "qwen": "tool_call_tags"}
"""Names that LLaMA-Factory's `tool_format` uses."""

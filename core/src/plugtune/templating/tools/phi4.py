"""Phi-4-mini: tools as one JSON list between tags behind the system prompt, calls as a JSON list between tags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from plugtune.data.records import ToolCall
from plugtune.templating.tools.fragments import FUNCTION, call_object, each_call, each_tool, literal, write
from plugtune.templating.tools.style import JinjaTools, calls_of, function_of, json_text

CALLS = re.compile(r"<\|tool_call\|>\s*(.+?)\s*<\|/tool_call\|>", re.DOTALL)


class Phi4Mini:
    """As the model card shows it: functions without the OpenAI wrapping."""

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        return "<|tool|>" + json_text([function_of(tool) for tool in tools]) + "<|/tool|>"

    def calls(self, calls: Sequence[ToolCall]) -> str:
        objects = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]
        return "<|tool_call|>" + json_text(objects) + "<|/tool_call|>"

    def parse(self, text: str) -> tuple[str, list[ToolCall]]:
        found = [calls_of(match[1]) for match in CALLS.finditer(text)]
        if not found or not all(found):
            return text, []
        return CALLS.sub("", text).strip(), [call for calls in found for call in calls]

    @property
    def jinja(self) -> JinjaTools:
        tools = each_tool(write(f"{FUNCTION} | tojson"), ", ")
        return JinjaTools(
            literal("<|tool|>[") + tools + literal("]<|/tool|>"),
            literal("<|tool_call|>[") + each_call(write(call_object()), ", ") + literal("]<|/tool_call|>"),
        )

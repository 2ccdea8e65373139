"""Styles whose calls are JSON objects between tags: Hermes and Qwen, Ling, MiniMax-M1."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugtune.data.records import ToolCall
from plugtune.templating.tools.fragments import call_object, each_call, each_tool, literal, write
from plugtune.templating.tools.shapes import SHAPES
from plugtune.templating.tools.style import JinjaTools, calls_of, json_text

SIGNATURES = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
"""How the tools of Hermes, Qwen, Ling and GLM-4.5 are introduced."""

_CALLS_AS_JSON = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n"
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


@dataclass(frozen=True, slots=True)
class JsonInTags:
    """JSON objects between an opening and a closing tag.

    Attributes:
        before: text before the tools.
        tool: text before each tool's JSON, and after it.
        after: text behind the tools.
        opening: the tag before calls; `closing` the one behind them.
        together: all calls stand in one pair of tags, a line each, instead of a pair for each call.
        shape: how each tool is shown, a name of `SHAPES`.
    """

    before: str
    tool: tuple[str, str]
    after: str
    opening: str = "<tool_call>"
    closing: str = "</tool_call>"
    together: bool = False
    shape: str = "wrapped"

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        shape = SHAPES[self.shape][0]
        return self.before + "".join(json_text(shape(tool)).join(self.tool) for tool in tools) + self.after

    def calls(self, calls: Sequence[ToolCall]) -> str:
        objects = [json_text({"name": call.name, "arguments": dict(call.arguments)}) for call in calls]
        blocks = ["\n".join(objects)] if self.together else objects
        return "\n".join(f"{self.opening}\n{block}\n{self.closing}" for block in blocks)

    def parse(self, text: str) -> tuple[str, list[ToolCall]]:
        calls: list[ToolCall] = []
        block = re.compile(re.escape(self.opening) + r"\s*(.+?)\s*" + re.escape(self.closing), re.DOTALL)
        first: int | None = None
        for match in block.finditer(text):
            first = match.start() if first is None else first
            found = [
                calls_of(part) for part in (match[1].splitlines() if self.together else [match[1]]) if part.strip()
            ]
            if not all(found):
                return text, []
            calls += [call for part in found for call in part]
        # What a model writes between or behind its calls belongs to what it says.
        return (_without(block, text), calls) if calls else (text, [])

    @property
    def jinja(self) -> JinjaTools:
        tool = literal(self.tool[0]) + write(f"{SHAPES[self.shape][1]} | tojson") + literal(self.tool[1])
        call, opening, closing = write(call_object()), literal(self.opening + "\n"), literal("\n" + self.closing)
        if self.together:
            calls = opening + each_call(call, "\n") + closing
        else:
            calls = each_call(opening + call + closing, "\n")
        return JinjaTools(literal(self.before) + each_tool(tool) + literal(self.after), calls)


def _without(block: re.Pattern[str], text: str) -> str:
    return "\n".join(
        part for part in (piece.strip("\n") for piece in block.sub("\0", text).split("\0")) if part.strip()
    )


TOOL_CALL_TAGS = JsonInTags("\n\n" + SIGNATURES, ("\n", ""), _CALLS_AS_JSON)
"""Hermes; Qwen2.5 and Qwen3."""

LING = JsonInTags(SIGNATURES, ("\n", ""), _CALLS_AS_JSON + "\ndetailed thinking off")
"""Ling 2."""

MINIMAX_M1 = JsonInTags(
    "You are provided with these tools:\n<tools>\n",
    ("", "\n"),
    "</tools>\n\nIf you need to call tools, please respond with <tool_calls></tool_calls> XML tags, and provide "
    "tool-name and json-object of arguments, following the format below:\n<tool_calls>\n"
    '{"name": <tool-name-1>, "arguments": <args-json-object-1>}\n...\n</tool_calls>',
    "<tool_calls>",
    "</tool_calls>",
    together=True,
    shape="function",
)
"""MiniMax-M1."""

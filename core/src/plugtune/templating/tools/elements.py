"""Styles whose calls are elements with an element for each argument: Qwen3.5, GLM-4.5, MiniMax-M2, Seed-OSS.

Where LLaMA-Factory 0.9.5 leaves a tag open that the description shown to the model closes (GLM-4.5, MiniMax-M2,
Seed-OSS), calls are written as described: an answer that breaks its own format is not worth learning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plugtune.data.records import ToolCall
from plugtune.templating.tools.fragments import each_argument, each_call, each_tool, literal, write
from plugtune.templating.tools.shapes import SHAPES
from plugtune.templating.tools.style import JinjaTools, json_text, value_of, value_text
from plugtune.templating.tools.tags import SIGNATURES


@dataclass(frozen=True, slots=True)
class Elements:
    """Calls as elements.

    Attributes:
        before: text before the tools; `after` the one behind them.
        tool: text before each tool's JSON, and after it.
        block: text before all calls of an answer, and after them.
        call: text before a call's name, between name and arguments, and behind the arguments.
        argument: text before an argument's name, between name and value, and behind the value.
        between: text between calls.
        listed: the tools are one JSON list.
        shape: how each tool is shown, a name of `SHAPES`.
    """

    before: str
    after: str
    call: tuple[str, str, str]
    argument: tuple[str, str, str]
    tool: tuple[str, str] = ("\n", "")
    block: tuple[str, str] = ("", "")
    between: str = "\n"
    listed: bool = False
    shape: str = "function"

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        shapes = [SHAPES[self.shape][0](tool) for tool in tools]
        if self.listed:
            return self.before + json_text(shapes).join(self.tool) + self.after
        return self.before + "".join(json_text(shape).join(self.tool) for shape in shapes) + self.after

    def calls(self, calls: Sequence[ToolCall]) -> str:
        return self.between.join(self._call(call) for call in calls).join(self.block)

    def _call(self, call: ToolCall) -> str:
        opening, named, closing = self.argument
        arguments = "".join(f"{opening}{k}{named}{value_text(v)}{closing}" for k, v in call.arguments.items())
        return f"{self.call[0]}{call.name}{self.call[1]}{arguments}{self.call[2]}"

    def parse(self, text: str) -> tuple[str, list[ToolCall]]:
        calls: list[ToolCall] = []
        matches = list(_pattern(self.call, r"[^\s<>\"]+").finditer(text))
        argument = _pattern(self.argument, r"[^<>\"]+?")
        for match in matches:
            found = list(argument.finditer(match["body"]))
            if argument.sub("", match["body"]).strip():
                return text, []
            calls.append(ToolCall(match["name"], {a["name"].strip(): value_of(a["body"]) for a in found}))
        if not calls:
            return text, []
        edges = [edge.strip() for edge in self.block if edge.strip()]
        rest = text[: matches[0].start()] + text[matches[-1].end() :]
        for edge in edges:
            rest = rest.replace(edge, "", 1)
        return rest.strip(), calls

    @property
    def jinja(self) -> JinjaTools:
        shape = SHAPES[self.shape][1]
        if self.listed:
            tools = (
                literal(self.tool[0] + "[") + each_tool(write(f"{shape} | tojson"), ", ") + literal("]" + self.tool[1])
            )
        else:
            tools = each_tool(literal(self.tool[0]) + write(f"{shape} | tojson") + literal(self.tool[1]))
        opening, named, closing = map(literal, self.argument)
        arguments = each_argument(opening + write("key") + named + write("value") + closing)
        call = (
            literal(self.call[0]) + write("function.name") + literal(self.call[1]) + arguments + literal(self.call[2])
        )
        calls = literal(self.block[0]) + each_call(call, self.between) + literal(self.block[1])
        return JinjaTools(literal(self.before) + tools + literal(self.after), calls)


def _pattern(parts: tuple[str, str, str], name: str) -> re.Pattern[str]:
    """Finds an element; line ends around its tags may be missing or more than written."""
    start, middle, end = (re.escape(part.strip("\n")) for part in parts)
    gap = r"\n?" if parts[1].endswith("\n") else ""
    last = r"\n?" if parts[2].startswith("\n") else ""
    return re.compile(rf"{start}(?P<name>{name}){_lines(middle)}{gap}(?P<body>.*?){last}{_lines(end)}", re.DOTALL)


def _lines(escaped: str) -> str:
    return escaped.replace("\\\n", r"\s*")


QWEN3_5 = Elements(
    "\n\n# Tools\n\nYou have access to the following functions:\n\n<tools>",
    "\n</tools>\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n"
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>\n"
    "<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\nmultiple lines\n"
    "</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n"
    "- Function calls MUST follow the specified format: "
    "an inner <function=...></function> block must be nested within <tool_call></tool_call> XML tags\n"
    "- Required parameters MUST be specified\n"
    "- You may provide optional reasoning for your function call in natural language "
    "BEFORE the function call, but NOT after\n"
    "- If there is no function call available, answer the question like normal with your current knowledge "
    "and do not tell the user about function calls\n</IMPORTANT>",
    call=("<tool_call>\n<function=", ">", "\n</function>\n</tool_call>"),
    argument=("\n<parameter=", ">\n", "\n</parameter>"),
)
"""Qwen3-Coder and Qwen3.5."""

GLM4_MOE = Elements(
    "\n\n" + SIGNATURES,
    "\n</tools>\n\nFor each function call, output the function name and arguments within the following XML format:"
    "\n<tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key>\n<arg_value>{arg-value-1}</arg_value>"
    "\n<arg_key>{arg-key-2}</arg_key>\n<arg_value>{arg-value-2}</arg_value>\n...\n</tool_call>\n",
    call=("\n<tool_call>", "", "\n</tool_call>"),
    argument=("\n<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>"),
    between="",
    shape="wrapped",
)
"""GLM-4.5."""

MINIMAX_M2 = Elements(
    "\n\n# Tools\n\nYou may call one or more tools to assist with the user query.\n"
    "Here are the tools available in JSONSchema format:\n\n<tools>\n",
    "</tools>\n\nWhen making tool calls, use XML format to invoke tools and pass parameters:\n\n<minimax:tool_call>\n"
    '<invoke name="tool-name-1">\n<parameter name="param-key-1">param-value-1</parameter>\n'
    '<parameter name="param-key-2">param-value-2</parameter>\n...\n</invoke>\n</minimax:tool_call>',
    call=('<invoke name="', '">', "\n</invoke>"),
    argument=('\n<parameter name="', '">', "</parameter>"),
    tool=("<tool>", "</tool>\n"),
    block=("<minimax:tool_call>\n", "\n</minimax:tool_call>"),
)
"""MiniMax-M2."""

SEED_OSS = Elements(
    "system\nYou are Doubao, a helpful AI assistant. You may call one or more functions to assist with the user query."
    "Tool List:\nYou are authorized to use the following tools (described in JSON Schema format). Before performing "
    "any task, you must decide how to call them based on the descriptions and parameters of these tools.",
    "\n工具调用请遵循如下格式:\n<seed:tool_call>\n<function=example_function_name>\n"
    "<parameter=example_parameter_1>value_1</parameter>\n<parameter=example_parameter_2>This is the value for the "
    "second parameter\nthat can span\nmultiple lines</parameter>\n</function>\n</seed:tool_call>\n",
    call=("\n<seed:tool_call>\n<function=", ">", "\n</function>\n</seed:tool_call>"),
    argument=("\n<parameter=", ">", "</parameter>"),
    listed=True,
    shape="wrapped",
)
"""Seed-OSS."""

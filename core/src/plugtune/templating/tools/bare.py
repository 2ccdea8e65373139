"""Styles whose calls are bare JSON: the whole answer is the call (LLaMA 3, Mistral, GLM-4)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from plugtune.data.records import RowError, ToolCall
from plugtune.templating.tools.fragments import (
    ARGUMENTS,
    WRAPPED,
    call_object,
    each_call,
    each_tool,
    literal,
    refuse,
    when,
    write,
)  # fmt: skip
from plugtune.templating.tools.style import JinjaTools, calls_of, function_of, json_text, said_and_calls, wrapped

DAY = "%d %b %Y"


def today() -> str:
    """The day as LLaMA 3 is told it."""
    return datetime.now().strftime(DAY)


@dataclass(frozen=True, slots=True)
class Llama3:
    """LLaMA 3.1 and later: a JSON object with `name` and `parameters`, a list of them for several calls.

    The description holds the day on which it is written, as at inference; it is no part of a template's digest, so
    that a run which goes on tomorrow finds the rows it was started with.
    """

    day: Callable[[], str] = today

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        texts = "".join(json_text(wrapped(tool), 4) + "\n\n" for tool in tools)
        return _LLAMA3[0] + self.day() + _LLAMA3[1] + texts

    def calls(self, calls: Sequence[ToolCall]) -> str:
        objects = [{"name": call.name, "parameters": dict(call.arguments)} for call in calls]
        return json_text(objects[0] if len(objects) == 1 else objects)

    def parse(self, text: str) -> tuple[str, list[ToolCall]]:
        """Calls may stand behind `<|python_tag|>`, which some of these models write first."""
        return said_and_calls(text, lambda part: calls_of(part.removeprefix("<|python_tag|>"), "parameters"))

    @property
    def jinja(self) -> JinjaTools:
        day = write(f"strftime_now('{DAY}')")
        tools = each_tool(write(f"{WRAPPED} | tojson(indent=4)") + literal("\n\n"))
        one = each_call(write(call_object("parameters")), ", ")
        calls = when("calls | length > 1", literal("[")) + one + when("calls | length > 1", literal("]"))
        return JinjaTools(literal(_LLAMA3[0]) + day + literal(_LLAMA3[1]) + tools, calls)


_LLAMA3 = (
    "Cutting Knowledge Date: December 2023\nToday Date: ",
    "\n\nYou have access to the following functions. To call a function, please respond with JSON for a function call. "
    'Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}. '
    "Do not use variables.\n\n",
)


class Mistral:
    """Mistral v0.3: tools between `[AVAILABLE_TOOLS]` marks, calls as a JSON list."""

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        return "[AVAILABLE_TOOLS] " + json_text([wrapped(tool) for tool in tools]) + "[/AVAILABLE_TOOLS]"

    def calls(self, calls: Sequence[ToolCall]) -> str:
        return json_text([{"name": call.name, "arguments": dict(call.arguments)} for call in calls])

    def parse(self, text: str) -> tuple[str, list[ToolCall]]:
        """The mark before the calls is part of the template's `tool_call` pieces; it may or may not be in the text."""
        said, _, body = text.rpartition("[TOOL_CALLS]")
        before, calls = said_and_calls(body, calls_of)
        return ("\n".join(filter(None, (said.strip(), before))), calls) if calls else (text, [])

    @property
    def jinja(self) -> JinjaTools:
        tools = each_tool(write(f"{WRAPPED} | tojson"), ", ")
        return JinjaTools(
            literal("[AVAILABLE_TOOLS] [") + tools + literal("][/AVAILABLE_TOOLS]"),
            literal("[") + each_call(write(call_object()), ", ") + literal("]"),
        )


class GLM4:
    """GLM-4 and ChatGLM3: the function's name on the first line, its arguments as JSON below; one call at a time."""

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        functions = [function_of(tool) for tool in tools]
        return _GLM4[0] + "".join(f"\n\n## {f['name']}\n\n{json_text(f, 4)}{_GLM4[1]}" for f in functions)

    def calls(self, calls: Sequence[ToolCall]) -> str:
        if len(calls) != 1:
            raise RowError(
                "this tool style writes one call in an answer", field="tool_calls",
                fix="give each call an answer of its own, or choose another --tool_format",
            )  # fmt: skip
        return f"{calls[0].name}\n{json_text(dict(calls[0].arguments))}"

    def parse(self, text: str) -> tuple[str, list[ToolCall]]:
        return said_and_calls(text, _name_and_arguments)

    @property
    def jinja(self) -> JinjaTools:
        tool = write("'\\n\\n## ' ~ function.name ~ '\\n\\n' ~ (function | tojson(indent=4))") + literal(_GLM4[1])
        several = when("calls | length > 1", refuse("This chat template writes one tool call in an answer."))
        call = each_call(write(f"function.name ~ '\\n' ~ {ARGUMENTS}"))
        return JinjaTools(literal(_GLM4[0]) + each_tool(tool), several + call)


def _name_and_arguments(text: str) -> list[ToolCall]:
    name, _, body = text.partition("\n")
    try:
        arguments = json.loads(body)
    except (ValueError, RecursionError):
        return []
    # A function's name is one word: a sentence before some JSON is no call.
    is_call = isinstance(arguments, dict) and len(name.split()) == 1
    return [ToolCall(name.strip(), arguments)] if is_call else []


_GLM4 = (
    "你是一个名为 ChatGLM 的人工智能助手。你是基于智谱 AI 公司训练的语言模型 GLM-4 模型开发的，"
    "你的任务是针对用户的问题和要求提供适当的答复和支持。\n\n# 可用工具",
    "\n在调用上述函数时，请使用 Json 格式表示调用的参数。",
)

"""LFM2's style: tools as a JSON list, calls as a Python list of calls with keyword arguments."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from plugtune.data.records import ToolCall
from plugtune.templating.tools.fragments import (
    FUNCTION,
    between_rounds,
    each_call,
    each_tool,
    literal,
    refuse,
    when,
    write,
)
from plugtune.templating.tools.style import JinjaTools, function_of, json_text

OPENING, CLOSING = "<|tool_call_start|>", "<|tool_call_end|>"
WORDS = {"true": True, "false": False, "null": None}


class LFM2:
    """`<|tool_call_start|>[name(key="value")]<|tool_call_end|>`; values are JSON."""

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        return "List of tools: <|tool_list_start|>" + json_text([*map(function_of, tools)]) + "<|tool_list_end|>"

    def calls(self, calls: Sequence[ToolCall]) -> str:
        texts = (f"{c.name}({', '.join(f'{k}={json_text(v)}' for k, v in c.arguments.items())})" for c in calls)
        return f"{OPENING}[{', '.join(texts)}]{CLOSING}"

    def parse(self, text: str) -> tuple[str, list[ToolCall]]:
        before, opening, rest = text.partition(OPENING)
        body, closing, after = rest.partition(CLOSING)
        if not opening or not closing:
            return text, []
        try:
            tree = ast.parse(body.strip(), mode="eval").body
            calls = [_call(node) for node in (tree.elts if isinstance(tree, ast.List) else [tree])]
        except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
            return text, []
        return ((before + after).strip(), calls) if calls else (text, [])

    @property
    def jinja(self) -> JinjaTools:
        tools = each_tool(write(f"{FUNCTION} | tojson"), ", ")
        argument = between_rounds(", ") + write("key ~ '=' ~ (item | tojson)")
        arguments = "{%- for key, item in arguments.items() -%}" + argument + "{%- endfor -%}"
        text = when("arguments is string", refuse("The arguments of a tool call must be an object, not text."))
        call = text + write("function.name ~ '('") + arguments + literal(")")
        return JinjaTools(
            literal("List of tools: <|tool_list_start|>[") + tools + literal("]<|tool_list_end|>"),
            literal(OPENING + "[") + each_call(call, ", ") + literal("]" + CLOSING),
        )


def _call(node: ast.expr) -> ToolCall:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        raise ValueError("not a call with keyword arguments")
    if any(keyword.arg is None for keyword in node.keywords):
        raise ValueError("arguments without a name")
    return ToolCall(node.func.id, {str(keyword.arg): _value(keyword.value) for keyword in node.keywords})


def _value(node: ast.expr) -> Any:
    """A literal, JSON's words included, at any depth."""
    if isinstance(node, ast.Name) and node.id in WORDS:
        return WORDS[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {_value(k) if k is not None else None: _value(v) for k, v in zip(node.keys, node.values, strict=True)}
    return ast.literal_eval(node)

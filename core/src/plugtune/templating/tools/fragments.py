"""Bits of Jinja that tool styles are put together from. Literals are written as expressions, so that no white space
control of an engine can change them."""

from __future__ import annotations

import json

FUNCTION = "tool.get('function', tool)"
"""The function of `tool`."""

WRAPPED = "(tool if tool.get('type') == 'function' else {'type': 'function', 'function': tool})"
"""`tool` in the OpenAI wrapping."""


def quoted(text: str) -> str:
    """A Jinja string literal; escapes are those of JSON, other scripts stay as they are."""
    return json.dumps(text, ensure_ascii=False)


def literal(text: str) -> str:
    """Writes a text."""
    return write(quoted(text)) if text else ""


def write(expression: str) -> str:
    """Writes an expression."""
    return "{{- " + expression + " -}}"


def refuse(reason: str) -> str:
    """Stops with a reason."""
    return write(f"raise_exception({quoted(reason)})")


def when(condition: str, then: str, otherwise: str = "") -> str:
    """A choice."""
    rest = "{%- else -%}" + otherwise if otherwise else ""
    return "{%- if " + condition + " -%}" + then + rest + "{%- endif -%}"


def put(name: str, expression: str) -> str:
    """Sets a name."""
    return "{%- set " + name + " = " + expression + " -%}"


def each(names: str, values: str, body: str, between: str = "") -> str:
    """A loop, with a text between its rounds."""
    return "{%- for " + names + " in " + values + " -%}" + between_rounds(between) + body + "{%- endfor -%}"


def between_rounds(text: str) -> str:
    """Writes a text in every round but the first."""
    return when("not loop.first", literal(text)) if text else ""


def macro(signature: str, body: str) -> str:
    """A macro."""
    return "{%- macro " + signature + " -%}" + body + "{%- endmacro -%}"


def each_tool(body: str, between: str = "") -> str:
    """Goes through `tools`; the body sees `tool` and its `function`."""
    return each("tool", "tools", put("function", FUNCTION) + body, between)


def each_call(body: str, between: str = "") -> str:
    """Goes through `calls`; the body sees the `function` that is called and its `arguments` (`{}` without any)."""
    start = put("function", "call.get('function', call)") + put("arguments", "function.get('arguments') or {}")
    return each("call", "calls", start + body, between)


def each_argument(body: str) -> str:
    """Goes through the arguments of a call as `key` and `value` (text as it is, the rest as JSON)."""
    not_object = refuse("The arguments of a tool call must be an object, not text.")
    value = put("value", "item if item is string else item | tojson")
    return when("arguments is string", not_object) + each("key, item", "arguments.items()", value + body)


ARGUMENTS = "(arguments if arguments is string else arguments | tojson)"
"""The arguments of a call as JSON; some clients send them as text already."""


def call_object(arguments: str = "arguments") -> str:
    """An expression: a call as a JSON object."""
    return f"'{{\"name\": ' ~ (function.name | tojson) ~ ', \"{arguments}\": ' ~ {ARGUMENTS} ~ '}}'"

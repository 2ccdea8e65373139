"""Gemma 4's style: declarations and calls in its own notation, with `<|"|>` for quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from plugtune.data.records import ToolCall
from plugtune.templating.tools.style import JinjaTools, function_of

QUOTE = '<|"|>'
CALL = re.compile(r"<\|tool_call>call:(?P<name>[^{\s]+)(?P<body>\{.*?\})<tool_call\|>", re.DOTALL)
PLAIN_KEY = re.compile(r"([{,]\s*)([^\s\"{}\[\],:]+)(\s*:)")


class Gemma4:
    """`<|tool_call>call:name{key:<|"|>value<|"|>}<tool_call|>`."""

    def describe(self, tools: Sequence[Mapping[str, Any]]) -> str:
        return "\n".join(_declaration(function_of(tool)) for tool in tools)

    def calls(self, calls: Sequence[ToolCall]) -> str:
        return "".join(f"<|tool_call>call:{call.name}{_notation(dict(call.arguments))}<tool_call|>" for call in calls)

    def parse(self, text: str) -> tuple[str, list[ToolCall]]:
        calls: list[ToolCall] = []
        for match in CALL.finditer(text):
            try:
                calls.append(ToolCall(match["name"], _read(match["body"])))
            except (ValueError, RecursionError):
                return text, []
        return (CALL.sub("", text).strip(), calls) if calls else (text, [])

    @property
    def jinja(self) -> JinjaTools | None:
        """Not written in Jinja: the model's own chat template (`--template auto`) does it."""
        return None


def _quoted(text: Any) -> str:
    return f"{QUOTE}{text}{QUOTE}"


def _fields(pairs: Sequence[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{name}:{text}" for name, text in pairs if text) + "}"


def _declaration(function: Mapping[str, Any]) -> str:
    fields = [("description", _quoted(function.get("description", "")))]
    parameters = function.get("parameters")
    if parameters:
        required = ",".join(map(_quoted, parameters.get("required") or ()))
        properties = [(name, _schema(value)) for name, value in (parameters.get("properties") or {}).items()]
        fields.append((
            "parameters",
            _fields([
                ("properties", _fields(properties) if properties else ""),
                ("required", f"[{required}]" if required else ""),
                ("type", _type(parameters)),
            ]),
        ))  # fmt: skip
    response = function.get("response")
    if response:
        kind = _type(response)
        object_only = kind if kind == _quoted("OBJECT") else ""
        described = _quoted(response["description"]) if response.get("description") else ""
        fields.append(("response", _fields([("description", described), ("type", object_only)])))
    return f"declaration:{function['name']}{_fields(fields)}"


def _schema(schema: Mapping[str, Any]) -> str:
    described = _quoted(schema["description"]) if schema.get("description") else ""
    return _fields([("description", described), ("type", _type(schema))])


def _type(schema: Mapping[str, Any]) -> str:
    return _quoted(str(schema["type"]).upper()) if schema.get("type") else ""


def _notation(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_notation(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_notation, value)) + "]"
    return json.dumps(value)


def _read(body: str) -> dict[str, Any]:
    """The notation as JSON: keys are quoted outside of texts only, so that a text may hold braces and colons."""
    parts = body.split(QUOTE)
    if len(parts) % 2 == 0:
        raise ValueError("a text is not closed")
    texts = [json.dumps(part) if n % 2 else f"\0{part}" for n, part in enumerate(parts)]
    outside = [PLAIN_KEY.sub(r'\1"\2"\3', t[1:]) if t.startswith("\0") else t for t in texts]
    value = json.loads("".join(outside))
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value

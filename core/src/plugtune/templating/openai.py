"""Conversations in the OpenAI shape, as `--messages` files, template examples and chat templates hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from plugtune.data.records import Conversation, Message, ToolCall
from plugtune.errors import RequestError, did_you_mean

ROLES = ("system", "user", "assistant", "tool")


def conversation_of(value: Any) -> Conversation:
    """`{"messages": [...], "tools": [...]}` as a conversation.

    Raises:
        RequestError: it does not have that shape.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("messages"), list) or not value["messages"]:
        raise RequestError('expected {"messages": [...], "tools": [...]}')
    tools = value.get("tools") or []
    if not isinstance(tools, list | tuple) or not all(isinstance(tool, Mapping) for tool in tools):
        raise RequestError("tools must be a list of objects", where="tools")
    messages = tuple(_message(item, number) for number, item in enumerate(value["messages"], 1))
    return Conversation(messages, tuple(tools))


def _message(item: Any, number: int) -> Message:
    where = f"messages[{number}]"
    if not isinstance(item, Mapping) or item.get("role") not in ROLES:
        role = item.get("role") if isinstance(item, Mapping) else item
        raise RequestError(f"unknown role {role!r}", where=where, fix=did_you_mean(str(role), ROLES))
    content = item.get("content") or ""
    if not isinstance(content, str):
        raise RequestError("content must be text", where=where)
    calls = item.get("tool_calls") or ()
    if not isinstance(calls, list | tuple):
        raise RequestError("tool_calls must be a list", where=where)
    return Message(item["role"], content, tuple(_call(call, where) for call in calls), item.get("reasoning_content"))


def _call(call: Any, where: str) -> ToolCall:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RequestError(
            f"{call!r} is not a tool call", where=where, fix='write {"function": {"name": …, "arguments": {…}}}'
        )
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            raise RequestError("the arguments of a tool call are not JSON", where=where, why=str(error)) from error
    if not isinstance(arguments, Mapping):
        raise RequestError("the arguments of a tool call must be an object", where=where)
    return ToolCall(function["name"], arguments)


def message_for_jinja(message: Message) -> dict[str, Any]:
    """A message as chat templates read it."""
    result: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        result["reasoning_content"] = message.reasoning
    if message.tool_calls:
        result["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in message.tool_calls
        ]
    return result

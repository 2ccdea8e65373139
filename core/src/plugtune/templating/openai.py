"""Conversations in the OpenAI shape, as `--messages` files and template examples hold them."""

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
    messages = tuple(_message(item, number) for number, item in enumerate(value["messages"], 1))
    return Conversation(messages, tuple(value.get("tools") or ()))


def _message(item: Any, number: int) -> Message:
    where = f"messages[{number}]"
    if not isinstance(item, Mapping) or item.get("role") not in ROLES:
        role = item.get("role") if isinstance(item, Mapping) else item
        raise RequestError(f"unknown role {role!r}", where=where, fix=did_you_mean(str(role), ROLES))
    calls = []
    for call in item.get("tool_calls") or ():
        function = call.get("function", call)
        arguments = function.get("arguments", {})
        calls.append(ToolCall(function["name"], json.loads(arguments) if isinstance(arguments, str) else arguments))
    content = item.get("content") or ""
    if not isinstance(content, str):
        raise RequestError("content must be text", where=where)
    return Message(item["role"], content, tuple(calls), item.get("reasoning_content"))

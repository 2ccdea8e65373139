"""Writes records as sharegpt and openai rows: the mirror image of `messages`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from plugtune import Conversation, Feedback, Message, Preference, RowError
from plugtune.data.writable import RowWriter

SHAREGPT_ROLES = {"user": "human", "assistant": "gpt", "tool": "observation", "system": "system"}


def make_sharegpt_writer(*, kind: str) -> RowWriter:
    """Writer of from/value messages; system prompt and tools stand in columns of their own, as texts."""
    return _writer(kind, "conversations", _sharegpt_conversation, _sharegpt_message)


def make_openai_writer(*, kind: str) -> RowWriter:
    """Writer of role/content messages as chat APIs take them; the system prompt is the first of them."""
    return _writer(kind, "messages", _openai_conversation, _openai_message)


def _writer(
    kind: str, messages: str, conversation: Callable[[Conversation], dict[str, Any]],
    message: Callable[[Message], dict[str, Any]],
) -> RowWriter:  # fmt: skip
    def preference(record: Preference) -> dict[str, Any]:
        answers = {"chosen": message(record.chosen), "rejected": message(record.rejected)}
        return {**conversation(record.prompt), **answers}

    def feedback(record: Feedback) -> dict[str, Any]:
        return {**conversation(record.conversation), "kto_tag": record.desirable}

    rows: dict[str, Any] = {"conversation": conversation, "preference": preference, "feedback": feedback}
    if kind not in rows:
        raise RowError("its rows are conversations", field=kind)
    columns = {"messages": messages, "system": "system", "tools": "tools"}
    judged = {"kto_tag": "kto_tag"} if kind == "feedback" else {}
    return RowWriter(rows[kind], {**columns, **judged})


def _sharegpt_conversation(record: Conversation) -> dict[str, Any]:
    messages = list(record.messages)
    # A masked system message, or an empty one, is more than the column can say; it stays where it is.
    first = messages[0] if messages and messages[0].role == "system" else None
    in_column = first is not None and first == Message("system", first.content) and bool(first.content.strip())
    row: dict[str, Any] = {"conversations": [_sharegpt_message(m) for m in messages[1 if in_column else 0 :]]}
    if in_column and first is not None:
        row["system"] = first.content
    if record.tools:
        row["tools"] = json.dumps([dict(tool) for tool in record.tools], ensure_ascii=False)
    return row


def _sharegpt_message(message: Message) -> dict[str, Any]:
    calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in message.tool_calls]
    # Calls without words are what the format has a role for; with words they need the key of the openai format.
    if calls and message.role == "assistant" and not message.content and not message.reasoning:
        value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
        return {"from": "function_call", "value": value} | ({} if message.train else {"train": False})
    item: dict[str, Any] = {"from": SHAREGPT_ROLES[message.role], "value": message.content}
    if calls:
        item["tool_calls"] = _openai_calls(message)
    if message.reasoning is not None:
        item["reasoning_content"] = message.reasoning
    return item | ({} if message.train else {"train": False})


def _openai_conversation(record: Conversation) -> dict[str, Any]:
    row: dict[str, Any] = {"messages": [_openai_message(m) for m in record.messages]}
    return row | ({"tools": [dict(tool) for tool in record.tools]} if record.tools else {})


def _openai_message(message: Message) -> dict[str, Any]:
    item: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning is not None:
        item["reasoning_content"] = message.reasoning
    if message.tool_calls:
        item["tool_calls"] = _openai_calls(message)
    return item | ({} if message.train else {"weight": 0})


def _openai_calls(message: Message) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments), ensure_ascii=False)},
        }
        for call in message.tool_calls
    ]

"""The sharegpt and openai formats: a list of messages with role and content under names of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plugtune import Conversation, Feedback, Message, Preference, RowError, ToolCall

from plugtune_format_standard.fields import system_message, text, tools, truth


def make_converter(
    columns: Mapping[str, str | None], tags: Mapping[str, str], *, kind: str
) -> Callable[[Mapping[str, Any]], Any]:
    """The converter for rows of `kind` under these column and tag names."""
    reader = _Reader(columns, tags)
    return {"conversation": reader.conversation, "preference": reader.preference, "feedback": reader.feedback}[kind]


class _Reader:
    def __init__(self, columns: Mapping[str, str | None], tags: Mapping[str, str]) -> None:
        self.columns, self.tags = columns, tags
        self.roles = {
            tags["user_tag"]: "user",
            tags["assistant_tag"]: "assistant",
            tags["observation_tag"]: "tool",
            tags["function_tag"]: "call",
            tags["system_tag"]: "system",
        }

    def conversation(self, row: Mapping[str, Any]) -> Conversation:
        messages = self._messages(row)
        _check_order(messages, self._column("messages"), ends_with_answer=True)
        return Conversation(tuple(messages), tools(row, self.columns.get("tools")))

    def preference(self, row: Mapping[str, Any]) -> Preference:
        messages = self._messages(row)
        _check_order(messages, self._column("messages"), ends_with_answer=False)
        answers = []
        for name in ("chosen", "rejected"):
            column = self._column(name)
            if column not in row:
                raise RowError("the row has no such column", field=column, fix="map it under `columns`")
            answers.append(self._answer(row, column))
        return Preference(Conversation(tuple(messages), tools(row, self.columns.get("tools"))), *answers)

    def _answer(self, row: Mapping[str, Any], column: str) -> Message:
        value = row[column]
        if not isinstance(value, Mapping):
            return Message("assistant", text(row, column, required=True))
        message = self._message(value, column)
        if message.role != "assistant":
            raise RowError(f"expected an answer, found a message of {message.role}", field=column)
        return message

    def feedback(self, row: Mapping[str, Any]) -> Feedback:
        column = self.columns.get("kto_tag")
        if not column or column not in row:
            raise RowError("the row carries no judgement", field=column or "kto_tag", fix="map kto_tag under `columns`")
        return Feedback(self.conversation(row), truth(row[column], column))

    def _column(self, name: str) -> str:
        return str(self.columns.get(name) or name)

    def _messages(self, row: Mapping[str, Any]) -> list[Message]:
        column = self._column("messages")
        if column not in row:
            raise RowError(
                f"the row has no such column; it has {', '.join(row)}", field=column, fix="map it under `columns`"
            )
        items = row[column]
        if not isinstance(items, Sequence) or isinstance(items, str) or not items:
            raise RowError("expected a list of messages", field=column)
        messages = [self._message(item, f"{column}[{number}]") for number, item in enumerate(items, 1)]
        if messages[0].role == "system":
            # A system prompt inside the messages wins over the column.
            return messages if messages[0].content.strip() else messages[1:]
        return system_message(text(row, self.columns.get("system"))) + messages

    def _message(self, item: Any, where: str) -> Message:
        role_tag, content_tag = self.tags["role_tag"], self.tags["content_tag"]
        if not isinstance(item, Mapping) or role_tag not in item:
            raise RowError(
                f"a message needs {role_tag!r} and {content_tag!r}", field=where, fix="set the tags of its entry"
            )
        role = self.roles.get(item[role_tag])
        if role is None:
            known = ", ".join(repr(r) for r in self.roles)
            raise RowError(
                f"unknown role {item[role_tag]!r}; known: {known}",
                field=f"{where}.{role_tag}",
                fix="map it under `tags`",
            )
        content = item.get(content_tag)
        calls = _openai_calls(item.get("tool_calls"), where)
        if content is None and calls:
            content = ""
        if not isinstance(content, str):
            raise RowError(f"expected text, found {type(content).__name__}", field=f"{where}.{content_tag}")
        train = _is_trained(item)
        if role == "call":
            return Message("assistant", "", _calls_in_text(content, f"{where}.{content_tag}"), train=train)
        if role == "assistant" and not content.strip() and not calls:
            raise RowError(
                "the answer is empty", field=f"{where}.{content_tag}", fix="fill it in, or leave the row out"
            )
        reasoning = item.get("reasoning_content") or None
        return Message(role, content, calls, reasoning, train)  # type: ignore[arg-type]


def _is_trained(item: Mapping[str, Any]) -> bool:
    # Columnar files give every message every key; one that was not written is null.
    given = (item.get(key) for key in ("train", "weight"))
    return bool(next((value for value in given if value is not None), True))


def _openai_calls(value: Any, where: str) -> tuple[ToolCall, ...]:
    calls = []
    for number, call in enumerate(value or [], 1):
        function = call.get("function", call) if isinstance(call, Mapping) else {}
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments or "{}")
            except json.JSONDecodeError as error:
                raise RowError(f"broken JSON: {error.msg}", field=f"{where}.tool_calls[{number}].arguments") from None
        if not function.get("name") or not isinstance(arguments, Mapping):
            raise RowError("a call needs a name and arguments", field=f"{where}.tool_calls[{number}]")
        calls.append(ToolCall(function["name"], arguments))
    return tuple(calls)


def _calls_in_text(content: str, where: str) -> tuple[ToolCall, ...]:
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        raise RowError(f"a function call must be JSON: {error.msg}", field=where) from None
    calls = _openai_calls(value if isinstance(value, list) else [value], where)
    if not calls:
        raise RowError("a function call must name a function", field=where)
    return calls


# Several calls of one answer have several results, one after another.
_FOLLOWS: dict[str, tuple[str, ...]] = {
    "": ("user",),
    "user": ("assistant",),
    "tool": ("assistant", "tool"),
    "assistant": ("user", "tool"),
}


def _check_order(messages: list[Message], column: str, *, ends_with_answer: bool) -> None:
    turns = [m for m in messages if m.role != "system"]
    if not turns:
        raise RowError("there are no messages besides the system prompt", field=column)
    offset = len(messages) - len(turns)
    if any(m.role == "system" for m in messages[1:]):
        raise RowError("a system message stands after the first place", field=column)
    previous = ""
    for index, message in enumerate(turns):
        if message.role not in _FOLLOWS[previous]:
            raise RowError(
                f"expected {' or '.join(_FOLLOWS[previous])}, found {message.role}",
                field=f"{column}[{index + offset + 1}]",
                fix="users and answers take turns; join neighbours of the same role",
            )
        previous = message.role
    if (previous == "assistant") != ends_with_answer:
        raise RowError(
            "the last message must be an answer" if ends_with_answer else "the prompt must end before the answer",
            field=column,
        )

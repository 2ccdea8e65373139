"""Writes records as alpaca rows: the mirror image of `alpaca`. The format holds questions and answers in plain text."""

from __future__ import annotations

import json
from typing import Any

from plugtune import Conversation, Feedback, Message, Preference, RowError
from plugtune.data.writable import RowWriter

OPTIONAL = {"history": "history", "system": "system", "tools": "tools"}


def make_writer(*, kind: str) -> RowWriter:
    """The writer of rows of `kind`."""
    rows: dict[str, Any] = {"conversation": _conversation, "preference": _preference, "feedback": _feedback}
    if kind not in rows:
        raise RowError("its rows are questions and answers", field=kind)
    return RowWriter(rows[kind], {**OPTIONAL, **({"kto_tag": "kto_tag"} if kind == "feedback" else {})})


def _conversation(record: Conversation) -> dict[str, Any]:
    *prompt, answer = record.messages
    return {**_prompt(prompt, record), "output": _plain(answer, "assistant", f"messages[{len(record.messages)}]")}


def _preference(record: Preference) -> dict[str, Any]:
    row = _prompt(list(record.prompt.messages), record.prompt)
    return row | {name: _plain(getattr(record, name), "assistant", name) for name in ("chosen", "rejected")}


def _feedback(record: Feedback) -> dict[str, Any]:
    return {**_conversation(record.conversation), "kto_tag": record.desirable}


def _prompt(messages: list[Message], record: Conversation) -> dict[str, Any]:
    system = _plain(messages[0], "system", "messages[1]") if messages and messages[0].role == "system" else None
    start = 0 if system is None else 1
    texts = [
        _plain(message, "assistant" if n % 2 else "user", f"messages[{start + n + 1}]")
        for n, message in enumerate(messages[start:])
    ]
    if len(texts) % 2 == 0:
        raise RowError("a row is a question and its answer, after rounds of both", field="messages")
    row: dict[str, Any] = {"instruction": texts[-1], "input": ""}
    if len(texts) > 1:
        row["history"] = [texts[n : n + 2] for n in range(0, len(texts) - 1, 2)]
    if system is not None:
        row["system"] = system
    if record.tools:
        row["tools"] = json.dumps([dict(tool) for tool in record.tools], ensure_ascii=False)
    return row


def _plain(message: Message, role: str, where: str) -> str:
    """The text of a message that is nothing but text."""
    lacks = {
        f"a message of role {message.role!r} where {role!r} is expected": message.role != role,
        "a tool call": bool(message.tool_calls),
        "thoughts apart from the answer": message.reasoning is not None,
        "an answer that is not trained on": not message.train,
    }
    if found := next((what for what, is_there in lacks.items() if is_there), None):
        raise RowError(f"it has no place for {found}", field=where, fix="choose --to sharegpt or --to openai")
    return message.content

"""What every record must be, whichever format made it: known roles in an order that can be trained on, real answers.

Formats check their own columns and name them; this is the last word on what they hand over, so that a format of a few
lines refuses what the standard ones refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

from plugtune.data.records import Conversation, Document, Feedback, Message, Preference, Role, RowError

ROLES: tuple[str, ...] = get_args(Role)
FILL = "fill it in, or leave the row out"


def check_record(record: Any) -> None:
    """Refuse a record that nothing can be learnt from.

    Raises:
        RowError: a message has an unknown role or no text, roles stand in a wrong order, or an answer is empty.
    """
    _CHECKS[type(record)](record)


def _conversation(record: Conversation) -> None:
    _turns(record.messages, answered=True)


def _preference(record: Preference) -> None:
    _turns(record.prompt.messages, answered=False)
    for name in ("chosen", "rejected"):
        _answer(getattr(record, name), name)


def _feedback(record: Feedback) -> None:
    _turns(record.conversation.messages, answered=True)


def _document(record: Document) -> None:
    if not isinstance(record.text, str):
        raise RowError(f"expected text, found {type(record.text).__name__}", field="text")
    if not record.text.strip():
        raise RowError("it is empty", field="text", fix=FILL)


_CHECKS: dict[type, Callable[[Any], None]] = {
    Conversation: _conversation, Preference: _preference, Feedback: _feedback, Document: _document,
}  # fmt: skip


def _turns(messages: Sequence[Message], *, answered: bool) -> None:
    """Check roles and their order: users (or results of tools) and answers in turn, a system message first only."""
    asked = False
    for number, message in enumerate(messages, 1):
        field = f"messages[{number}]"
        if not isinstance(message, Message):
            raise RowError(f"expected a plugtune.Message, found {type(message).__name__}", field=field)
        if message.role not in ROLES:
            raise RowError(f"unknown role {message.role!r}", field=field, fix=f"one of {', '.join(ROLES)}")
        if not isinstance(message.content, str):
            raise RowError(f"expected text, found {type(message.content).__name__}", field=field)
        if message.role == "system":
            if number > 1:
                raise RowError("a system message stands after the first place", field=field)
        elif message.role == "assistant":
            if not asked:
                raise RowError(
                    "an answer stands where a question is expected", field=field,
                    fix="begin with a question, and join neighbouring answers",
                )  # fmt: skip
            _answer(message, field)
            asked = False
        else:
            asked = True
    if not any(message.role != "system" for message in messages):
        raise RowError("there are no messages besides the system prompt", field="messages")
    if asked and answered:
        raise RowError("the last message must be an answer", field="messages", fix="leave the last question out")
    if not asked and not answered:
        raise RowError("the prompt must end before the answer", field="messages")


def _answer(message: Message, field: str) -> None:
    if not isinstance(message, Message) or message.role != "assistant":
        found = message.role if isinstance(message, Message) else type(message).__name__
        raise RowError(f"expected an answer, found {found}", field=field)
    if not isinstance(message.content, str):
        raise RowError(f"expected text, found {type(message.content).__name__}", field=field)
    if not (message.content.strip() or message.tool_calls or message.reasoning or not message.train):
        raise RowError("the answer is empty", field=field, fix=FILL)

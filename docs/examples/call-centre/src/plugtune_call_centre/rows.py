"""Reads one call: caller's text, agent's text, an optional briefing; private calls are left out and counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plugtune import Conversation, Message, Recognised, RowError, RowLeftOut, text_of

YES, NO = ("yes", "true", "1", "y"), ("no", "false", "0", "n", "")


def make_converter(
    columns: Mapping[str, str | None], tags: Mapping[str, str], *, kind: str
) -> Callable[[Mapping[str, Any]], Conversation]:
    """The converter under these column names."""

    def convert(row: Mapping[str, Any]) -> Conversation:
        if _is_true(row.get(columns["private"]), str(columns["private"])):
            raise RowLeftOut("the call is private")
        briefing = text_of(row, columns["briefing"], required=False)
        start = [Message("system", briefing)] if briefing.strip() else []
        question, answer = (text_of(row, columns[role]) for role in ("question", "answer"))
        return Conversation((*start, Message("user", question), Message("assistant", answer)))

    return convert


def _is_true(value: Any, column: str) -> bool:
    word = "" if value is None else str(value).strip().lower()
    if word not in (*YES, *NO):
        raise RowError(f"expected yes or no, found {value!r}", field=column, fix="write yes, no, or nothing")
    return word in YES


def recognise(rows: Sequence[Mapping[str, Any]]) -> Recognised | None:
    """Rows with the texts of both sides, in the columns that our exports have."""
    if rows and all({"caller_text", "agent_text"} <= set(row) for row in rows):
        return Recognised({}, {}, 0.95)
    return None

"""Guesses a file's format from its first rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plugtune import Recognised

Rows = Sequence[Mapping[str, Any]]


def alpaca(rows: Rows) -> Recognised | None:
    """Rows with an instruction-like and an output-like column."""
    columns = set().union(*rows) if rows else set()
    prompt = next((c for c in ("instruction", "prompt", "question") if c in columns), None)
    response = next((c for c in ("output", "response", "answer", "completion") if c in columns), None)
    ranking = {"chosen", "rejected"} <= columns and all(isinstance(r.get("chosen"), str) for r in rows)
    if prompt is None or not (response or ranking):
        return None
    mapping = {
        "prompt": prompt,
        "query": "input" if "input" in columns else None,
        "response": response,
        "history": "history" if "history" in columns else None,
        "system": "system" if "system" in columns else None,
        "tools": "tools" if "tools" in columns else None,
        "kto_tag": _judgement(rows),
    }
    return Recognised(mapping, {}, 0.9 if prompt == "instruction" else 0.6, ranking)


def sharegpt(rows: Rows) -> Recognised | None:
    """Rows with a list of from/value messages."""
    return _messages(rows, "from", "value", {})


def openai(rows: Rows) -> Recognised | None:
    """Rows with a list of role/content messages."""
    return _messages(rows, "role", "content", {})


def _messages(rows: Rows, role: str, content: str, tags: Mapping[str, str]) -> Recognised | None:
    for column in ("messages", "conversations", "conversation"):
        lists: list[Any] = [row.get(column) for row in rows]
        if lists and all(_is_messages(value, role) for value in lists):
            names = set().union(*rows)
            mapping = {
                "messages": column,
                "system": "system" if "system" in names else None,
                "tools": "tools" if "tools" in names else None,
                "kto_tag": _judgement(rows),
            }
            found = {m[role] for value in lists for m in value}
            if role == "from" and "user" in found:
                tags = {"user_tag": "user", "assistant_tag": "assistant"}
            return Recognised(mapping, tags, 0.95, "chosen" in names and "rejected" in names)
    return None


def _judgement(rows: Rows) -> str | None:
    return next((c for c in ("kto_tag", "label") if all(isinstance(row.get(c), bool) for row in rows)), None)


def _is_messages(value: Any, role: str) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(m, Mapping) and role in m for m in value)


def text(rows: Rows) -> Recognised | None:
    """Rows with a single text column."""
    if rows and all(isinstance(row.get("text"), str) for row in rows):
        return Recognised({"text": "text"}, {}, 0.5)
    return None

"""The alpaca format: instruction, input, output; optional system and history; preferences and judgements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from plugtune import Conversation, Document, Feedback, Message, Preference, RowError

from plugtune_format_standard.fields import system_message, text, tools, truth


def make_converter(
    columns: Mapping[str, str | None], tags: Mapping[str, str], *, kind: str
) -> Callable[[Mapping[str, Any]], Any]:
    """The converter for rows of `kind` under these column names."""
    return {
        "conversation": lambda row: _conversation(row, columns),
        "preference": lambda row: _preference(row, columns),
        "feedback": lambda row: _feedback(row, columns),
        "document": lambda row: Document(text(row, columns["prompt"], required=True)),
    }[kind]


def _prompt(row: Mapping[str, Any], columns: Mapping[str, str | None]) -> list[Message]:
    messages = system_message(text(row, columns.get("system")))
    for question, answer in _history(row, columns.get("history")):
        messages += [Message("user", question), Message("assistant", answer)]
    prompt = text(row, columns["prompt"], required=True)
    query = text(row, columns.get("query"))
    messages.append(Message("user", "\n".join(part for part in (prompt, query) if part)))
    return messages


def _history(row: Mapping[str, Any], column: str | None) -> list[tuple[str, str]]:
    value = row.get(column) if column else None
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError("expected a list of [question, answer] pairs", field=str(column))
    for number, pair in enumerate(value, 1):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
            raise RowError(f"round {number} is not a [question, answer] pair of texts", field=str(column))
    return [(question, answer) for question, answer in value]


def _conversation(row: Mapping[str, Any], columns: Mapping[str, str | None]) -> Conversation:
    answer = Message("assistant", text(row, columns["response"], required=True))
    return Conversation((*_prompt(row, columns), answer), tools(row, columns.get("tools")))


def _preference(row: Mapping[str, Any], columns: Mapping[str, str | None]) -> Preference:
    prompt = Conversation(tuple(_prompt(row, columns)), tools(row, columns.get("tools")))
    chosen, rejected = (text(row, columns[name], required=True) for name in ("chosen", "rejected"))
    return Preference(prompt, Message("assistant", chosen), Message("assistant", rejected))


def _feedback(row: Mapping[str, Any], columns: Mapping[str, str | None]) -> Feedback:
    column = columns.get("kto_tag")
    if not column or column not in row:
        raise RowError("the row carries no judgement", field=column or "kto_tag", fix="map kto_tag under `columns`")
    return Feedback(_conversation(row, columns), truth(row[column], column))

"""The standard dataset formats: what they are called and where their code is. Imports nothing heavy."""

from __future__ import annotations

import plugtune
from plugtune.data.records import RecordKind
from plugtune.data.writable import WritableFormat

_CHAT: tuple[RecordKind, ...] = ("conversation", "preference", "feedback")
_SHAREGPT_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
_OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}


@plugtune.hookimpl
def plugtune_formats() -> list[plugtune.DatasetFormat]:
    """alpaca, sharegpt, openai, text."""
    shared = {"system": None, "tools": None, "chosen": "chosen", "rejected": "rejected", "kto_tag": None}
    return [
        WritableFormat(
            name="alpaca",
            summary="instruction, input, output, with optional system and history",
            columns={"prompt": "instruction", "query": "input", "response": "output", "history": None, **shared},
            makes=(*_CHAT, "document"),
            convert="plugtune_format_standard.alpaca:make_converter",
            write="plugtune_format_standard.write_alpaca:make_writer",
            recognise="plugtune_format_standard.recognise:alpaca",
        ),
        WritableFormat(
            name="sharegpt",
            summary="conversations of from/value messages, with optional system and tools",
            columns={"messages": "conversations", **shared},
            tags=_SHAREGPT_TAGS,
            makes=_CHAT,
            convert="plugtune_format_standard.messages:make_converter",
            write="plugtune_format_standard.write_messages:make_sharegpt_writer",
            recognise="plugtune_format_standard.recognise:sharegpt",
        ),
        WritableFormat(
            name="openai",
            summary="messages of role/content with tool_calls, as chat APIs take them",
            columns={"messages": "messages", **shared, "tools": "tools"},
            tags=_OPENAI_TAGS,
            makes=_CHAT,
            convert="plugtune_format_standard.messages:make_converter",
            write="plugtune_format_standard.write_messages:make_openai_writer",
            recognise="plugtune_format_standard.recognise:openai",
        ),
        WritableFormat(
            name="text",
            summary="plain text documents for pre-training",
            columns={"text": "text", "prompt": None},
            makes=("document",),
            convert="plugtune_format_standard.text:make_converter",
            write="plugtune_format_standard.text:make_writer",
            recognise="plugtune_format_standard.recognise:text",
        ),
    ]

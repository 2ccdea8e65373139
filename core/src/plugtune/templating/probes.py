"""Conversations that a template is tried on before its Jinja is trusted.

Plain chat comes first; the others apply to templates with a tool style, and to those that write thoughts.
"""

from __future__ import annotations

from typing import Any

from plugtune.data.records import Conversation, Message, ToolCall


def _chat(*turns: str, system: str | None = None) -> Conversation:
    roles = ("user", "assistant")
    messages = [Message(roles[i % 2], text) for i, text in enumerate(turns)]  # type: ignore[arg-type]
    return Conversation(tuple([Message("system", system)] if system is not None else []) + tuple(messages))


PROBES: tuple[Conversation, ...] = (
    _chat("Hello", "Hi there!"),
    _chat("你好，请介绍一下你自己。", "我是一个助手。", system="你是一个有用的助手。"),
    _chat("What is 2 + 2?", "4", "And 3 + 3?", "It is 6.\n\nShall I go on?"),
    _chat("  leading and trailing  ", "```python\nprint('x')\n```\n", system="Be brief."),
    _chat("emoji 🙂🚀 and\ttabs", "Привет, мир — 100 %", "1", "2", "3", "4"),
)
"""Plain chat: languages, rounds, spaces, code, line ends, with and without system."""

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'The weather of a city, as "degrees" & sky.',
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City's name"},
                "unit": {"type": "string", "description": "Unit", "enum": ["c", "f"]},
                "days": {"type": "array", "description": "Days", "items": {"type": "integer"}},
            },
            "required": ["city"],
        },
    },
}
SEARCH: dict[str, Any] = {
    "type": "function",
    "function": {"name": "搜索", "description": "搜索网页 {x}", "parameters": {"type": "object", "properties": {}}},
}
BARE: dict[str, Any] = {
    "name": "clock",
    "description": "The time",
    "parameters": {"type": "object", "properties": {"items": {"type": "number"}}},
}

PARIS = ToolCall("get_weather", {"city": 'the "City"\nof Paris', "days": [1, 2], "unit": None})
LOOK = ToolCall("搜索", {"查询": "天气 <b>", "exact": True, "score": 0.5, "nested": {"a": []}})

TOOL_PROBES: tuple[Conversation, ...] = (
    Conversation(_chat("Hello", "Hi there!").messages, (WEATHER,)),
    Conversation(
        (
            Message("system", "Be brief."), Message("user", "How is Paris?"), Message("assistant", "", (PARIS,)),
            Message("tool", '{"degrees": 21, "sky": "clear"}'), Message("assistant", "21 degrees and clear."),
        ),
        (WEATHER, BARE),
    ),
    Conversation(
        (
            Message("user", "请搜索天气。"), Message("assistant", "我来看看。", (LOOK,)),
            Message("tool", "晴，二十一度"), Message("assistant", "晴天。"),
            Message("user", "谢谢"), Message("assistant", "不客气！"),
        ),
        (WEATHER, SEARCH),
    ),
    Conversation(
        (Message("system", "你是助手。"), Message("user", "Call it."), Message("assistant", "", (LOOK,))), (SEARCH,)
    ),
    Conversation(
        (
            Message("system", "你是一个有用的助手。"), Message("user", "Both, please."),
            Message("assistant", "", (PARIS, LOOK)), Message("tool", "R1"), Message("tool", "结果二"),
            Message("assistant", "Done."), Message("user", "And?"), Message("assistant", "That is all."),
        ),
        (WEATHER, SEARCH),
    ),
)  # fmt: skip
"""Tools offered; one call, its result, an answer; text before a call; a call at the end; parallel calls."""

THOUGHT_PROBES: tuple[Conversation, ...] = (
    Conversation((Message("user", "2 + 2?"), Message("assistant", "4", reasoning="Easy:\ntwo and two."))),
    Conversation(
        (
            Message("system", "Be brief."), Message("user", "2 + 2?"),
            Message("assistant", "4", reasoning="Two and two."), Message("user", "3 + 3？"),
            Message("assistant", "6", reasoning="三加三。"),
        )
    ),
)  # fmt: skip
"""Thoughts in an only answer, and in an earlier and the last one."""

TOOL_THOUGHT_PROBES: tuple[Conversation, ...] = (
    Conversation(
        (
            Message("user", "How is Paris?"), Message("assistant", "", (PARIS,), reasoning="I must look."),
            Message("tool", "21"), Message("assistant", "21 degrees.", reasoning="It says 21."),
        ),
        (WEATHER,),
    ),
)  # fmt: skip
"""Thoughts before a call and before the answer that follows its result."""

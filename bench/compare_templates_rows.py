"""Rows in the sharegpt form on which templates are compared; what they hold is in their names.

`<T>` and `</T>` stand for a template's words around thoughts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

ROLES = {"u": "human", "a": "gpt", "c": "function_call", "o": "observation"}


def _parameters(**kinds: str) -> dict[str, Any]:
    return {
        "type": "object", "required": list(kinds)[:1],
        "properties": {name: {"type": kind, "description": f"The {name}"} for name, kind in kinds.items()},
    }  # fmt: skip


WEATHER = {
    "name": "get_weather", "description": 'Weather of a city, "degrees" & sky',
    "parameters": _parameters(city="string", days="integer"),
}  # fmt: skip
SEARCH = {"name": "搜索", "description": "搜索网页 {x}", "parameters": _parameters(query="string", exact="boolean")}
WRAPPED = {"type": "function", "function": WEATHER}
NOTHING = {"name": "clock", "description": "The time", "parameters": {"type": "object", "properties": {}}}

PARIS = {"name": "get_weather", "arguments": {"city": 'the "City"\nof Paris', "days": 2}}
LOOK = {"name": "搜索", "arguments": {"query": "天气 <b>", "exact": True, "near": ["a", 1.5, None]}}
TIME = {"name": "clock", "arguments": {}}
CODE = "```python\ndef f(x: int) -> int:\n\treturn x  +  1\n```\n"


def _row(turns: Sequence[str], system: str = "", tools: Sequence[Any] = ()) -> dict[str, Any]:
    """A row; each turn is its role's letter and its text."""
    messages = [{"from": ROLES[turn[0]], "value": turn[1:]} for turn in turns]
    return {
        "conversations": messages,
        "system": system,
        "tools": json.dumps(tools, ensure_ascii=False) if tools else "",
    }


def _calls(*calls: dict[str, Any]) -> str:
    return "c" + json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)


PLAIN: dict[str, dict[str, Any]] = {
    "one round": _row(["uHello", "aHi there!"]),
    "system": _row(["uWho are you?", "aA helper."], "Be brief."),
    "empty system": _row(["uWho are you?", "aA helper."], ""),
    "system of many lines": _row(["u第一", "a二"], "你是助手。\n\nRules:\n- be brief\n"),
    "two rounds": _row(["uWhat is 2 + 2?", "a4", "uAnd 3 + 3?", "aIt is 6.\n\nShall I go on?"]),
    "four rounds, system": _row(["u1", "aone", "u2", "atwo", "u3", "athree", "u4", "afour"], "Count."),
    "Chinese": _row(["u你好，请介绍一下你自己。", "a我是一个助手。", "u谢谢", "a不客气！"], "你是一个有用的助手。"),
    "Russian and emoji": _row(["uПривет 🙂🚀", "a100 %, мир — e\u0301"]),
    "code": _row([f"uExplain:\n{CODE}", f"aBetter:\n{CODE}"]),
    "spaces and tabs": _row(["u  leading,   trailing  ", "a\tx   y\n\n"], "  s  "),
    "braces": _row(["u{{content}} {x}", "a{{ bos_token }} {% if x %}"], "{{content}}"),
    "a counter's name": _row(["uWhat is {{idx}}?", "aA counter."]),
    "marks of other templates": _row(["u<|im_end|>[INST]", "a</s><|user|>x"]),
    "long": _row(["u" + "word " * 300, "a" + "字" * 300]),
}
TOOLS: dict[str, dict[str, Any]] = {
    "tools offered": _row(["uHello", "aHi!"], "", [WEATHER]),
    "tools offered, system": _row(["uHello", "aHi!"], "Be brief.", [WEATHER, SEARCH]),
    "tools in the OpenAI wrapping": _row(["uHello", "aHi!"], "", [WRAPPED]),
    "a call": _row(["uHow is Paris?", _calls(PARIS)], "", [WEATHER]),
    "a call, its result": _row(["uHow is Paris?", _calls(PARIS), 'o{"degrees": 21}', "a21 degrees."], "", [WEATHER]),
    "a call of a tool without parameters": _row(["uTime?", _calls(TIME), "o12:00", "aNoon."], "S", [NOTHING]),
    "calls in turn": _row(
        ["u天气？", _calls(LOOK), "o晴，二十一度", _calls(PARIS), "o21", "a晴天。"], "你是助手。", [SEARCH, WEATHER]
    ),
    "two calls at once": _row(["uBoth", _calls(PARIS, LOOK), "oR1 结果二", "aDone."], "", [WEATHER, SEARCH]),
    "a question behind a call": _row(
        ["uHow is Paris?", _calls(PARIS), "o21", "a21.", "uThanks", "aYou are welcome."], "", [WEATHER]
    ),
}
THOUGHTS: dict[str, dict[str, Any]] = {
    "thoughts": _row(["u2 + 2?", "a<T>Easy:\ntwo and two.</T>4"]),
    "thoughts in both answers": _row(["u2 + 2?", "a<T>Two.</T>4", "u3 + 3？", "a<T>三加三。</T>6"], "Be brief."),
    "thoughts in the first answer": _row(["u2 + 2?", "a<T>Two.</T>4", "u3 + 3?", "a6"]),
    "thoughts in the last answer": _row(["u2 + 2?", "a4", "u3 + 3?", "a<T>Three.</T>6"]),
}

"""Tool styles write the literal texts that models were trained on, and read calls back out of generated text."""

from __future__ import annotations

import re

import pytest
from plugtune.data.records import RowError, ToolCall
from plugtune.templating.tools import STYLE_ALIASES, STYLES
from plugtune.templating.tools.bare import Llama3

TOOL = {
    "name": "f", "description": "Does 事", "parameters": {
        "type": "object", "properties": {
            "x": {"type": "string", "description": "an X", "enum": ["a", "b"]},
            "items": {"type": "array", "description": "", "items": {"type": "integer"}},
        }, "required": ["x"],
    },
}  # fmt: skip
JSON = (
    '{"name": "f", "description": "Does 事", "parameters": {"type": "object", "properties": {"x": {"type": "string", '
    '"description": "an X", "enum": ["a", "b"]}, "items": {"type": "array", "description": "", "items": {"type": '
    '"integer"}}}, "required": ["x"]}}'
)
WRAPPED = f'{{"type": "function", "function": {JSON}}}'
ONE = [ToolCall("f", {"x": '说 "hi"', "items": [1, 2]})]
TWO = [ToolCall("f", {"x": "a"}), ToolCall("g", {"y": None, "z": {"k": True}})]

ALONE = {
    "react": 'Action: f\nAction Input: {"x": "说 \\"hi\\"", "items": [1, 2]}',
    "tool_call_tags": '<tool_call>\n{"name": "f", "arguments": {"x": "说 \\"hi\\"", "items": [1, 2]}}\n</tool_call>',
    "llama3": '{"name": "f", "parameters": {"x": "说 \\"hi\\"", "items": [1, 2]}}',
    "mistral": '[{"name": "f", "arguments": {"x": "说 \\"hi\\"", "items": [1, 2]}}]',
    "glm4": 'f\n{"x": "说 \\"hi\\"", "items": [1, 2]}',
    "glm4_moe": (
        '\n<tool_call>f\n<arg_key>x</arg_key>\n<arg_value>说 "hi"</arg_value>\n<arg_key>items</arg_key>\n'
        "<arg_value>[1, 2]</arg_value>\n</tool_call>"
    ),
    "qwen3_5": (
        '<tool_call>\n<function=f>\n<parameter=x>\n说 "hi"\n</parameter>\n<parameter=items>\n[1, 2]\n</parameter>\n'
        "</function>\n</tool_call>"
    ),
    "ling": '<tool_call>\n{"name": "f", "arguments": {"x": "说 \\"hi\\"", "items": [1, 2]}}\n</tool_call>',
    "lfm2": '<|tool_call_start|>[f(x="说 \\"hi\\"", items=[1, 2])]<|tool_call_end|>',
    "gemma4": '<|tool_call>call:f{items:[1,2],x:<|"|>说 "hi"<|"|>}<tool_call|>',
    "minimax1": '<tool_calls>\n{"name": "f", "arguments": {"x": "说 \\"hi\\"", "items": [1, 2]}}\n</tool_calls>',
    "minimax2": (
        '<minimax:tool_call>\n<invoke name="f">\n<parameter name="x">说 "hi"</parameter>\n'
        '<parameter name="items">[1, 2]</parameter>\n</invoke>\n</minimax:tool_call>'
    ),
    "seed_oss": (
        '\n<seed:tool_call>\n<function=f>\n<parameter=x>说 "hi"</parameter>\n<parameter=items>[1, 2]</parameter>\n'
        "</function>\n</seed:tool_call>"
    ),
    "phi4_mini": '<|tool_call|>[{"name": "f", "arguments": {"x": "说 \\"hi\\"", "items": [1, 2]}}]<|/tool_call|>',
}
"""One call, by style: written by hand after the models' own formats."""

TOGETHER = {
    "react": 'Action: f\nAction Input: {"x": "a"}\nAction: g\nAction Input: {"y": null, "z": {"k": true}}',
    "tool_call_tags": (
        '<tool_call>\n{"name": "f", "arguments": {"x": "a"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "g", "arguments": {"y": null, "z": {"k": true}}}\n</tool_call>'
    ),
    "llama3": '[{"name": "f", "parameters": {"x": "a"}}, {"name": "g", "parameters": {"y": null, "z": {"k": true}}}]',
    "mistral": '[{"name": "f", "arguments": {"x": "a"}}, {"name": "g", "arguments": {"y": null, "z": {"k": true}}}]',
    "lfm2": '<|tool_call_start|>[f(x="a"), g(y=null, z={"k": true})]<|tool_call_end|>',
    "minimax1": (
        '<tool_calls>\n{"name": "f", "arguments": {"x": "a"}}\n'
        '{"name": "g", "arguments": {"y": null, "z": {"k": true}}}\n</tool_calls>'
    ),
}


def test_every_style_has_a_golden_call():
    assert set(ALONE) == set(STYLES)
    assert set(STYLE_ALIASES.values()) <= set(STYLES)


@pytest.mark.parametrize("name", sorted(ALONE))
def test_a_call_is_written_as_models_saw_it_and_read_back(name):
    style = STYLES[name]
    assert style.calls(ONE) == ALONE[name]
    assert style.parse(ALONE[name]) == ("", ONE)
    assert style.parse(f"I look.\n{ALONE[name]}") == ("I look.", ONE)


@pytest.mark.parametrize("name", sorted(TOGETHER))
def test_parallel_calls_are_written_as_models_saw_them(name):
    assert STYLES[name].calls(TWO) == TOGETHER[name]


@pytest.mark.parametrize("name", sorted(set(STYLES) - {"glm4"}))
def test_parallel_calls_are_read_back(name):
    assert STYLES[name].parse(STYLES[name].calls(TWO)) == ("", TWO)


def test_a_style_that_has_no_parallel_calls_says_so():
    with pytest.raises(RowError, match="one call"):
        STYLES["glm4"].calls(TWO)


@pytest.mark.parametrize("name", sorted(STYLES))
@pytest.mark.parametrize(
    "text",
    ["", "Just an answer.", "f\n" + "[" * 100_000, 'It is {"a": 1} and\n{"name": 3}\n', "[1, 2]", "Action: none"],
)
def test_text_without_calls_is_left_as_it_is(name, text):
    assert STYLES[name].parse(text) == (text, [])


@pytest.mark.parametrize("name", sorted(set(ALONE) - {"glm4_moe", "qwen3_5", "minimax2", "seed_oss"}))
def test_a_broken_call_leaves_the_text_untouched(name):
    broken = re.sub(r"\[1, ?2\]", "[1, 2", ALONE[name])
    assert broken != ALONE[name]
    assert STYLES[name].parse(broken) == (broken, [])


@pytest.mark.parametrize("name", ["glm4_moe", "qwen3_5", "minimax2", "seed_oss", "tool_call_tags", "lfm2", "gemma4"])
def test_a_call_that_is_cut_off_leaves_the_text_untouched(name):
    cut = ALONE[name][: len(ALONE[name]) * 3 // 4]
    assert STYLES[name].parse(cut) == (cut, [])


def test_what_a_model_dreams_up_behind_an_action_is_no_call():
    text = 'I look.\nAction: f\nAction Input: ```{"x": "a"}```\nObservation: 3'
    assert STYLES["react"].parse(text) == ("I look.", [ToolCall("f", {"x": "a"})])


def test_react_describes_tools():
    assert STYLES["react"].describe([TOOL, {"type": "function", "function": {"name": "g"}}]) == (
        "You have access to the following tools:\n"
        "> Tool Name: f\nTool Description: Does 事\nTool Args:\n"
        "  - x (string, required): an X, should be one of [a, b]\n"
        "  - items (array): , where each item should be integer\n\n"
        "> Tool Name: g\nTool Description: \nTool Args:\n\n"
        "Use the following format if using a tool:\n```\nAction: tool name (one of [f, g])\n"
        "Action Input: the input to the tool, in a JSON format representing the kwargs "
        '(e.g. ```{"input": "hello world", "num_beams": 5}```)\n```\n'
    )


def test_tool_call_tags_describe_tools():
    assert STYLES["tool_call_tags"].describe([TOOL]) == (
        "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with "
        f"function signatures within <tools></tools> XML tags:\n<tools>\n{WRAPPED}\n</tools>\n\nFor each function call, "
        "return a json object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
        '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
    )


def test_mistral_describes_tools():
    assert STYLES["mistral"].describe([TOOL]) == f"[AVAILABLE_TOOLS] [{WRAPPED}][/AVAILABLE_TOOLS]"


def test_llama3_describes_tools_with_the_day():
    text = Llama3(day=lambda: "26 Jul 2024").describe([{"name": "f"}])
    assert text == (
        "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nYou have access to the following functions. "
        "To call a function, please respond with JSON for a function call. Respond in the format "
        '{"name": function name, "parameters": dictionary of argument name and its value}. Do not use variables.\n\n'
        '{\n    "type": "function",\n    "function": {\n        "name": "f"\n    }\n}\n\n'
    )
    assert re.search(r"Today Date: \d\d \w+ 20\d\d\n", STYLES["llama3"].describe([{"name": "f"}]))


def test_glm4_describes_tools():
    assert STYLES["glm4"].describe([{"type": "function", "function": {"name": "f"}}]) == (
        "你是一个名为 ChatGLM 的人工智能助手。你是基于智谱 AI 公司训练的语言模型 GLM-4 模型开发的，"
        "你的任务是针对用户的问题和要求提供适当的答复和支持。\n\n# 可用工具\n\n"
        '## f\n\n{\n    "name": "f"\n}\n在调用上述函数时，请使用 Json 格式表示调用的参数。'
    )


@pytest.mark.parametrize("name", ["lfm2", "minimax1", "minimax2"])
def test_styles_that_show_bare_functions_take_the_wrapping_off(name):
    assert JSON in STYLES[name].describe([{"type": "function", "function": TOOL}])
    assert WRAPPED not in STYLES[name].describe([{"type": "function", "function": TOOL}])

"""The exported Jinja writes tools, calls, results and thoughts as training does, and says what it cannot write."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from plugtune.data.records import Conversation, Message, RowError
from plugtune.errors import RequestError
from plugtune.templating.bound import BoundTemplate
from plugtune.templating.exported import exported_template
from plugtune.templating.jinja import to_jinja
from plugtune.templating.load import load_template
from plugtune.templating.openai import message_for_jinja
from plugtune.templating.probes import PROBES, THOUGHT_PROBES, TOOL_PROBES, TOOL_THOUGHT_PROBES
from plugtune.templating.render import RenderOptions, render
from plugtune.templating.tools import STYLES
from plugtune.templating.verify import PLAIN, first_difference, probes_of
from plugtune.testkit import tiny

WITH_JINJA = sorted(name for name, style in STYLES.items() if style.jinja is not None)
TOOLS = [{"type": "function", "function": {"name": "f", "description": "", "parameters": {}}}]


@pytest.fixture
def roomy(model_dir, host):
    """The tiny tokenizer with the special tokens of all templates, so that every one of them can be bound."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    words = tiny.special_tokens(host.catalog.all("template"))
    tokenizer.add_special_tokens({"additional_special_tokens": words})
    return tokenizer


def written(tokenizer, jinja, conversation, **choices):
    messages = [message_for_jinja(message) for message in conversation.messages]
    tools = [dict(tool) for tool in conversation.tools] or None
    return tokenizer.apply_chat_template(messages, tools=tools, chat_template=jinja, tokenize=False, **choices)


@pytest.mark.parametrize("style", WITH_JINJA)
def test_the_made_jinja_gives_the_text_of_training_for_every_template_and_tool_style(host, roomy, style):
    compared = 0
    # Every template with its own style, and templates of each shape with every style.
    shapes = ("qwen", "qwen3", "llama2", "glm4", "glm4_7", "mistral", "default", "deepseekcoder")
    for template in host.catalog.all("template"):
        if template.tool_style != style and template.name not in shapes:
            continue
        bound = BoundTemplate(template, roomy, RenderOptions(tool_style=style))
        jinja = to_jinja(template, bound.options, roomy, bound.eos_text())
        for chat in (*PROBES, *TOOL_PROBES, *THOUGHT_PROBES, *TOOL_THOUGHT_PROBES):
            try:
                text = bound.text(chat)
            except RowError:
                with pytest.raises(Exception, match="one tool call"):
                    written(roomy, jinja, chat)
                continue
            assert written(roomy, jinja, chat) == text, template.name
            compared += 1
    assert compared > 100


@pytest.mark.parametrize("name", ["qwen", "qwen3", "smollm2", "gemma", "llama2", "zephyr"])
@pytest.mark.parametrize("thinking", [True, False])
def test_prompts_for_generation_are_those_of_training(host, roomy, name, thinking):
    bound = BoundTemplate(host.catalog.get("template", name), roomy, RenderOptions(enable_thinking=thinking))
    jinja = to_jinja(bound.template, bound.options, roomy, bound.eos_text())
    for chat in (*PROBES, *TOOL_PROBES, *TOOL_THOUGHT_PROBES):
        asked = Conversation(chat.messages[:-1], chat.tools)
        turns = render(bound.template, asked, bound.options, generation=True)
        pieces = [piece for turn in turns for part in (turn.prompt, turn.answer) for piece in part]
        expected = "".join(bound.tokenizer.decode(bound._join([p], bound._ids([p]))) for p in pieces)
        assert written(roomy, jinja, asked, add_generation_prompt=True) == expected


def test_the_opener_is_written_only_where_an_answer_follows(host, tokenizer):
    bound = BoundTemplate(host.catalog.get("template", "qwen3_nothink"), tokenizer)
    jinja = bound.chat_template()
    asked = Conversation((Message("user", "a"), Message("user", "b")))
    plain = "<|im_start|>user\na<|im_end|>\n<|im_start|>user\nb<|im_end|>\n"
    assert written(tokenizer, jinja, asked) == plain
    assert written(tokenizer, jinja, asked, add_generation_prompt=True) == plain + "<|im_start|>assistant\n"
    answered = Conversation((*asked.messages, Message("assistant", "c")))
    assert bound.text(answered) == plain + "<|im_start|>assistant\nc<|im_end|>\n"


def test_an_opener_that_the_pieces_do_not_end_with_is_refused(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text('user: "U: {{content}} A:"\nopener: "B:"\n', encoding="utf-8")
    with pytest.raises(RequestError, match="user does not end with the opener"):
        load_template(file)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"role": "assistant", "content": "x"}], "where a question is expected"),
        ([{"role": "user", "content": "x"}, {"role": "system", "content": "y"}], "one system message"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], "content is text"),
    ],
)
def test_what_training_cannot_write_is_refused(host, tokenizer, messages, reason):
    jinja = BoundTemplate(host.catalog.get("template", "qwen"), tokenizer).chat_template()
    with pytest.raises(Exception, match=reason):
        tokenizer.apply_chat_template(messages, chat_template=jinja, tokenize=False)


def test_arguments_may_be_text_as_clients_send_them(host, tokenizer):
    jinja = BoundTemplate(host.catalog.get("template", "qwen"), tokenizer).chat_template()
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    messages = [{"role": "user", "content": "go"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    text = tokenizer.apply_chat_template(messages, chat_template=jinja, tokenize=False)
    assert text.endswith('<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call><|im_end|>\n')


def test_an_own_template_that_leaves_tools_out_is_not_taken(host, tokenizer):
    bound = BoundTemplate(host.catalog.get("template", "qwen3_nothink"), tokenizer)
    assert first_difference(bound, tokenizer.chat_template, {PLAIN: PROBES}) is None
    difference = first_difference(bound, tokenizer.chat_template)
    assert difference is not None
    assert difference.kind == "tools"
    exported = exported_template(bound)
    assert (exported.source, exported.proven, exported.note) == ("pieces", (PLAIN, "tools"), "")


def test_an_own_template_that_writes_everything_alike_is_taken(host, model_dir):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    template = host.catalog.get("template", "qwen")
    own = to_jinja(template, RenderOptions(), tokenizer, "<|im_end|>") + "{# the model's own #}"
    tokenizer.chat_template = own
    exported = exported_template(BoundTemplate(template, tokenizer))
    assert (exported.source, exported.jinja) == ("tokenizer", own)


def test_when_only_plain_chat_is_proven_the_jinja_refuses_tools_and_a_note_says_so(host, tokenizer):
    bound = BoundTemplate(host.catalog.get("template", "qwen"), tokenizer, RenderOptions(tool_style="gemma4"))
    exported = exported_template(bound)
    assert exported.proven == (PLAIN,)
    assert "refuses tools" in exported.note
    assert bound.chat_template_note() == exported.note
    for messages, tools in (([{"role": "user", "content": "x"}], TOOLS), ([{"role": "tool", "content": "x"}], None)):
        with pytest.raises(Exception, match="plain chat only"):
            tokenizer.apply_chat_template(messages, chat_template=exported.jinja, tools=tools, tokenize=False)


def test_a_run_without_thinking_exports_a_template_that_does_not_think(host, roomy):
    bound = BoundTemplate(host.catalog.get("template", "qwen3"), roomy, RenderOptions(enable_thinking=False))
    jinja = to_jinja(bound.template, bound.options, roomy, bound.eos_text())
    asked = Conversation((Message("user", "a"),))
    opened = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    off = written(roomy, jinja, asked, add_generation_prompt=True)
    on = written(roomy, jinja, asked, add_generation_prompt=True, enable_thinking=True)
    assert (off, on) == (opened + "<think>\n\n</think>\n\n", opened)


def test_only_answers_that_are_trained_on_are_marked_as_such(host, roomy):
    bound = BoundTemplate(host.catalog.get("template", "qwen3"), roomy)
    roomy.chat_template = to_jinja(bound.template, bound.options, roomy, bound.eos_text())
    messages = [message_for_jinja(message) for message in THOUGHT_PROBES[1].messages]
    marked = roomy.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
    learnt = [i for i, m in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if m]
    assert roomy.decode(learnt) == "<think>\n三加三。\n</think>\n\n6<|im_end|>\n"


def test_thoughts_behind_the_last_question_are_kept_and_learnt_through_tool_calls(host, tokenizer):
    bound = BoundTemplate(host.catalog.get("template", "qwen3"), tokenizer)
    chat = bound.encode([TOOL_THOUGHT_PROBES[0]])[0]
    assert chat.trained == [True, True]
    assert tokenizer.decode(chat.turns[0][1]).startswith("<think>\nI must look.\n</think>\n\n<tool_call>\n")
    assert tokenizer.decode(chat.turns[1][1]) == "<think>\nIt says 21.\n</think>\n\n21 degrees.<|im_end|>\n"


def _vendor(name: str) -> str:
    spec = importlib.util.find_spec("trl")
    folder = Path(next(iter(spec.submodule_search_locations or ()))) / "chat_templates" if spec else Path("missing")
    file = folder / f"{name}.jinja"
    if not file.is_file():
        pytest.skip(f"trl, which carries the vendor's {name} chat template, is not installed")
    return file.read_text(encoding="utf-8")


def test_qwen_equals_the_vendors_own_template_with_tools(host, tokenizer):
    bound = BoundTemplate(host.catalog.get("template", "qwen"), tokenizer)
    assert first_difference(bound, _vendor("qwen2_5")) is None


def test_qwen3_writes_the_vendors_text_with_tools_and_thoughts(host, roomy):
    bound = BoundTemplate(host.catalog.get("template", "qwen3"), roomy)
    own = _vendor("qwen3")
    for kind, chats in probes_of(bound).items():
        for chat in chats:
            # Without a system prompt the vendor starts its tools without the blank lines that LLaMA-Factory trains with.
            if kind != PLAIN and chat.messages[0].role != "system":
                chat = Conversation((Message("system", "Be brief."), *chat.messages), chat.tools)
            assert written(roomy, own, _wrapped(chat)) == bound.text(chat)


def _wrapped(chat: Conversation) -> Conversation:
    tools = tuple(t if "function" in t else {"type": "function", "function": t} for t in chat.tools)
    return Conversation(chat.messages, tools)

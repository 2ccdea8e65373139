"""Templates write what models were trained on; masks are exact; the exported Jinja gives the same ids."""

from __future__ import annotations

import pytest
from plugtune.data.records import Conversation, Message, RowError, ToolCall
from plugtune.errors import RequestError
from plugtune.templating.auto import TokenizerTemplate
from plugtune.templating.bound import BoundTemplate
from plugtune.templating.examples import failures
from plugtune.templating.jinja import to_jinja
from plugtune.templating.load import load_template
from plugtune.templating.verify import PLAIN, PROBES, first_difference

CHAT = Conversation(
    (Message("user", "Hi"), Message("assistant", "Hello!"), Message("user", "Bye"), Message("assistant", "See you."))
)


def test_every_template_keeps_its_golden_examples(host):
    templates = host.catalog.all("template")
    assert len(templates) >= 17
    assert {t.name: failures(t) for t in templates if failures(t) or not t.examples} == {}


def test_an_example_that_does_not_hold_is_shown(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(
        'user: "U: {{content}} A:"\nassistant: "{{content}}"\nexamples:\n- messages: [{role: user, content: a}, {role: assistant, content: b}]\n  text: "U: a B:b"\n',
        encoding="utf-8",
    )
    assert "expected 'B:b', found 'A:b'" in failures(load_template(file))[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("usr: x\n", "unknown key 'usr'"),
        ('user: "no place"\n', "holds no {{content}}"),
        ("user: [{tokn: x}]\n", "is not a piece"),
        ("eos: twice\n", "one of each, once"),
        ("thinking: ab\n", "opening and closing words"),
        ("name: [1]\n", "write text"),
        ('replace_eos: "no"\n', "true or false"),
        ("user: [\n", "no valid YAML"),
    ],
)
def test_a_wrong_template_file_is_named_with_what_is_wrong(tmp_path, text, message):
    file = tmp_path / "bad.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=message) as caught:
        load_template(file)
    assert "bad.yaml" in str(caught.value)


def test_auto_gives_the_ids_of_the_tokenizers_own_template_and_trains_on_answers_only(tokenizer):
    template = TokenizerTemplate(tokenizer)
    for chat in PROBES:
        encoded = template.encode([chat])[0]
        ids = [t for prompt, answer in encoded.turns for t in prompt + answer] + encoded.tail
        messages = [{"role": m.role, "content": m.content} for m in chat.messages]
        assert ids == tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
        answers = [m.content for m in chat.messages if m.role == "assistant"]
        assert [tokenizer.decode(answer) for _, answer in encoded.turns] == [f"{a}<|im_end|>\n" for a in answers]


def test_auto_asks_as_the_tokenizer_does(tokenizer):
    asked = Conversation(CHAT.messages[:3])
    messages = [{"role": m.role, "content": m.content} for m in asked.messages]
    expected = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert TokenizerTemplate(tokenizer).encode_prompt(asked) == expected


def test_a_named_template_equals_the_tokenizers_own_where_both_are_chatml(host, tokenizer):
    bound = BoundTemplate(host.catalog.get("template", "qwen3_nothink"), tokenizer)
    assert first_difference(bound, tokenizer.chat_template, {PLAIN: PROBES}) is None


@pytest.mark.parametrize(
    "name", ["qwen", "smollm2", "chatml", "llama2", "gemma", "mistral", "zephyr", "vicuna", "alpaca"]
)
def test_the_exported_jinja_gives_the_same_text_as_training(host, tokenizer, name):
    template = host.catalog.get("template", name)
    words = [w for w in template.stop if w not in tokenizer.get_vocab()]
    bound = BoundTemplate(template, tokenizer) if not words else None
    if bound is None:
        with pytest.raises(RequestError, match="needs the token"):
            BoundTemplate(template, tokenizer)
        return
    jinja = to_jinja(template, bound.options, tokenizer, bound.eos_text())
    for chat in PROBES:
        messages = [{"role": m.role, "content": m.content} for m in chat.messages]
        assert tokenizer.apply_chat_template(messages, chat_template=jinja, tokenize=False) == bound.text(chat)


def test_a_difference_between_template_and_tokenizer_is_shown_with_both_sides(host, tokenizer):
    bound = BoundTemplate(host.catalog.get("template", "qwen"), tokenizer)
    difference = first_difference(bound, tokenizer.chat_template)
    assert difference is not None
    assert difference.ours != difference.theirs


def test_tool_calls_are_written_in_the_templates_style(host, tokenizer):
    call = Message("assistant", "", (ToolCall("f", {"x": 1}),))
    chat = Conversation(
        (Message("user", "go"), call, Message("tool", "done"), Message("assistant", "ok")),
        ({"name": "f", "parameters": {}},),
    )
    text = BoundTemplate(host.catalog.get("template", "qwen"), tokenizer).text(chat)
    assert '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call><|im_end|>' in text
    assert "<tool_response>\ndone\n</tool_response>" in text
    assert '<tools>\n{"type": "function", "function": {"name": "f", "parameters": {}}}\n</tools>' in text


def test_thoughts_of_earlier_answers_are_left_out_and_empty_ones_are_given_when_thinking_is_off(host, tokenizer):
    from plugtune.templating.render import RenderOptions

    qwen3 = host.catalog.get("template", "qwen3")
    chat = Conversation(
        (
            Message("user", "a"),
            Message("assistant", "<think>\nhm\n</think>\n\nb"),
            Message("user", "c"),
            Message("assistant", "d"),
        )
    )
    text = BoundTemplate(qwen3, tokenizer).text(chat)
    assert "hm" not in text
    encoded = BoundTemplate(qwen3, tokenizer, RenderOptions(enable_thinking=False)).encode([chat])[0]
    assert tokenizer.decode(encoded.turns[-1][0]).endswith("<think>\n\n</think>\n\n")
    assert tokenizer.decode(encoded.turns[-1][1]) == "d<|im_end|>\n"


def test_a_row_in_the_wrong_order_is_a_row_error(host, tokenizer):
    bound = BoundTemplate(host.catalog.get("template", "qwen"), tokenizer)
    assert isinstance(bound.encode([Conversation((Message("assistant", "x"),))])[0], RowError)


def test_results_of_parallel_calls_share_one_message(host, tokenizer):
    calls = Message("assistant", "", (ToolCall("f", {"x": 1}), ToolCall("f", {"x": 2})))
    chat = Conversation(
        (Message("user", "go"), calls, Message("tool", "R1"), Message("tool", "R2"), Message("assistant", "ok"))
    )
    text = BoundTemplate(host.catalog.get("template", "qwen3"), tokenizer).text(chat)
    # As Qwen's own chat template writes it.
    assert (
        "<|im_start|>user\n<tool_response>\nR1\n</tool_response>\n<tool_response>\nR2\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\nok<|im_end|>\n"
    ) in text


def test_an_earlier_answer_that_lost_its_thoughts_is_not_trained_on(host, tokenizer):
    chat = BoundTemplate(host.catalog.get("template", "qwen3"), tokenizer).encode([CHAT])[0]
    assert chat.trained == [False, True]
    assert chat.unlearnable == 1


def test_the_place_of_a_round_is_counted_in_the_template_and_not_in_what_is_said(tmp_path, tokenizer):
    file = tmp_path / "x.yaml"
    file.write_text('user: "[{{idx}}] {{content}} A:"\nassistant: "{{content}}|"\n', encoding="utf-8")
    chat = Conversation((Message("user", "{{idx}} {{content}}"), Message("assistant", "{{idx}}")))
    bound = BoundTemplate(load_template(file), tokenizer)
    assert bound.text(chat) == "[0] {{idx}} {{content}} A:{{idx}}|"
    jinja = to_jinja(bound.template, bound.options, tokenizer, bound.eos_text())
    messages = [{"role": m.role, "content": m.content} for m in chat.messages]
    assert tokenizer.apply_chat_template(messages, chat_template=jinja, tokenize=False) == bound.text(chat)

"""`plugtune template render|check`, with named templates and with auto."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from plugtune.cli.template import command
from plugtune.errors import RequestError

MESSAGES = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Bye"},
    {"role": "assistant", "content": "See you."},
]
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}}}]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "chat.json"
    path.write_text(json.dumps({"messages": MESSAGES}), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _these_plugins(host, monkeypatch):
    """The command sees the plugins of this test session, whatever else is installed."""
    monkeypatch.setattr("plugtune.plugins.host.PluginHost", lambda *args, **kwargs: host)
    monkeypatch.setattr(type(host), "load", lambda self: self)


def run(*args):
    return CliRunner().invoke(command, [str(arg) for arg in args])


def report(*args):
    result = run(*args, "--json")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return json.loads(result.stdout), result.exit_code


def test_auto_is_rendered_with_the_tokenizers_own_ids(file, model_dir, tokenizer):
    answer, _ = report("render", "auto", "--messages", file, "--tokenizer", model_dir)
    assert answer["input_ids"] == tokenizer.apply_chat_template(MESSAGES, tokenize=True, return_dict=False)
    assert answer["text"] == tokenizer.apply_chat_template(MESSAGES, tokenize=False)
    assert [s["text"] for s in answer["segments"] if s["train"]] == ["Hello!<|im_end|>\n", "See you.<|im_end|>\n"]
    trained = [label for label in answer["labels"] if label != -100]
    assert tokenizer.decode(trained) == "Hello!<|im_end|>\nSee you.<|im_end|>\n"
    assert (answer["template"], answer["stop"]) == ("auto", ["<|im_end|>"])


def test_a_named_template_is_rendered_alike_with_and_without_a_tokenizer(file, model_dir):
    bare, _ = report("render", "qwen", "--messages", file)
    full, _ = report("render", "qwen", "--messages", file, "--tokenizer", model_dir)
    assert bare["segments"] == full["segments"]
    assert len(full["input_ids"]) == len(full["labels"])


def test_auto_needs_a_tokenizer(file):
    for args in (("render", "auto", "--messages", file), ("check", "auto")):
        error = run(*args).exception
        assert isinstance(error, RequestError)
        assert "--tokenizer" in str(error)


def test_the_choices_of_a_run_change_what_is_rendered(tmp_path, file):
    answer, _ = report("render", "qwen", "--messages", file, "--default_system", "Be brief.")
    assert answer["text"].startswith("<|im_start|>system\nBe brief.<|im_end|>\n")
    answer, _ = report("render", "qwen3", "--messages", file, "--enable_thinking", "false")
    assert [s["text"] for s in answer["segments"] if s["train"]] == ["See you.<|im_end|>\n"]
    with_tools = tmp_path / "tools.json"
    with_tools.write_text(json.dumps({"messages": MESSAGES, "tools": TOOLS}), encoding="utf-8")
    answer, _ = report("render", "qwen", "--messages", with_tools, "--tool_format", "mistral")
    assert "[AVAILABLE_TOOLS] " in answer["text"]
    error = run("render", "qwen", "--messages", with_tools, "--tool_format", "qwne").exception
    assert "did you mean 'qwen'" in str(error)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [{"x": 1}]}]}, "is not a tool call"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{"}]}]}, "not JSON"),
        ({"messages": MESSAGES, "tools": ["f"]}, "list of objects"),
        ({"messages": MESSAGES[1:]}, "an answer stands where a question is expected"),
    ],
)
def test_a_file_that_holds_no_conversation_is_named_with_the_reason(tmp_path, value, message):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    error = run("render", "qwen", "--messages", path).exception
    assert isinstance(error, RequestError)
    assert "bad.json" in str(error)
    assert message in str(error)


def test_a_conversation_that_ends_with_a_question_is_the_prompt_for_its_answer(tmp_path, model_dir, tokenizer):
    path = tmp_path / "open.json"
    path.write_text(json.dumps({"messages": MESSAGES[:3]}), encoding="utf-8")
    answer, _ = report("render", "auto", "--messages", path, "--tokenizer", model_dir)
    wanted = {"add_generation_prompt": True, "return_dict": False}
    assert answer["input_ids"] == tokenizer.apply_chat_template(MESSAGES[:3], tokenize=True, **wanted)
    assert answer["text"] == tokenizer.apply_chat_template(MESSAGES[:3], tokenize=False, **wanted)
    assert set(answer["labels"]) == {-100}
    bare, _ = report("render", "qwen", "--messages", path)
    full, _ = report("render", "qwen", "--messages", path, "--tokenizer", model_dir)
    assert bare["segments"] == full["segments"]
    assert bare["text"].endswith("<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n")
    assert not any(segment["train"] for segment in bare["segments"])


def test_check_tells_each_kind_of_conversation_and_what_is_stored_with_a_model(model_dir):
    found, status = report("check", "qwen3_nothink", "--tokenizer", model_dir)
    assert status == 0
    assert found["tokenizer"] == found["kinds"]["plain chat"] == "equal"
    assert found["kinds"]["tools"] != "equal"
    assert found["stored"] == {"source": "pieces", "proven": ["plain chat", "tools"], "note": ""}


def test_check_fails_when_plain_chat_differs(model_dir):
    found, status = report("check", "qwen", "--tokenizer", model_dir)
    assert (status, found["ok"]) == (1, False)
    assert "the template gives" in found["tokenizer"]


def test_check_auto_says_what_can_be_trained_on(model_dir):
    found, status = report("check", "auto", "--tokenizer", model_dir)
    assert (status, found["failures"]) == (0, [])
    assert "leaves the tool" in found["tools"][0]

"""Tests of a chat template: golden examples, masks, round trips, the stored Jinja form."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest

from plugtune.data.records import Conversation, RowError
from plugtune.errors import RequestError
from plugtune.templating.bound import BoundTemplate
from plugtune.templating.check import check_named
from plugtune.templating.examples import failures
from plugtune.templating.model import ChatTemplate, TemplateExample, Token
from plugtune.templating.openai import conversation_of
from plugtune.templating.render import RenderOptions
from plugtune.testkit.base import CapabilityTests, optional, python
from plugtune.testkit.models import tiny_tokenizer

DIGESTS = """
import json
from plugtune.plugins.host import PluginHost
from plugtune.templating.load import digest
print(json.dumps({t.name: digest(t) for t in PluginHost().load().catalog.all("template")}))
"""


@cache
def _digests() -> dict[str, str]:
    """What every installed template is in another process."""
    done = python(DIGESTS)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


class TemplateTests(CapabilityTests):
    """Tests of a template.

    Attributes:
        tokenizer: folder of a tokenizer whose own chat template must give the same ids; empty when there is none here.
    """

    kind = "template"
    tokenizer: ClassVar[str | Path] = ""

    @pytest.fixture(scope="class")
    def bound(self, item: ChatTemplate) -> BoundTemplate:
        """The template on a tokenizer that has its special tokens and for which every other byte is a token."""
        pieces = (*item.prefix, *item.system, *item.user, *item.assistant, *item.tool, *item.tool_call)
        specials = [piece.text for piece in pieces if isinstance(piece, Token)] + list(item.stop)
        return BoundTemplate(item, tiny_tokenizer(specials, size=0))

    def test_it_has_examples_with_what_is_trained_on(self, item: ChatTemplate) -> None:
        assert item.examples, "it has no golden examples: add `examples` with messages, text and trained"
        assert any(e.trained for e in item.examples), "no example says which parts are trained on: add `trained`"

    @optional
    def test_an_example_has_two_questions(self, item: ChatTemplate) -> None:
        if all(sum(m["role"] == "user" for m in e.messages) < 2 for e in item.examples):
            pytest.skip("no example has two questions: what stands between rounds is not shown")

    def test_its_examples_hold(self, item: ChatTemplate) -> None:
        assert failures(item) == []

    def test_ids_read_back_as_the_text_and_the_masks_of_the_examples(
        self, item: ChatTemplate, bound: BoundTemplate
    ) -> None:
        for number, example in enumerate(item.examples, 1):
            on = _with_options(bound, example)
            chat = on.encode([_conversation(example)])[0]
            assert not isinstance(chat, RowError), f"example {number}: {chat}"
            ids = [token for prompt, answer in chat.turns for token in prompt + answer] + chat.tail
            expected = _written(example.text, on)
            assert on.tokenizer.decode(ids) == expected, f"example {number}: the ids read back as other text"
            trained = [on.tokenizer.decode(a) for (_, a), t in zip(chat.turns, chat.trained, strict=True) if t]
            trained = [*trained[:-1], trained[-1] + on.tokenizer.decode(chat.tail)] if trained else trained
            if example.trained:
                assert "".join(trained) == "".join(_written(text, on) for text in example.trained), f"example {number}"

    def test_a_prompt_is_the_beginning_of_its_answered_conversation(
        self, item: ChatTemplate, bound: BoundTemplate
    ) -> None:
        question = Conversation(conversation_of({"messages": [{"role": "user", "content": "Hi there"}]}).messages)
        chat = bound.encode([_chat("Hi there", "Hello")])[0]
        assert not isinstance(chat, RowError), str(chat)
        assert bound.encode_prompt(question) == chat.turns[0][0]

    @optional
    def test_something_ends_an_answer(self, bound: BoundTemplate) -> None:
        assert bound.stop_token_ids(), "neither a stop word nor the end of sequence ends an answer"
        chat = bound.encode([_chat("a", "b")])[0]
        assert not isinstance(chat, RowError)
        learnt = chat.turns[-1][1] + chat.tail
        stops = [word for word in bound.stop if word in bound.tokenizer.decode(learnt)]
        assert set(learnt) & set(bound.stop_token_ids()) or stops, "the model never learns to stop"

    @optional
    def test_the_stored_chat_template_gives_the_ids_of_training(self, bound: BoundTemplate) -> None:
        try:
            bound.chat_template()
        except RequestError as error:
            pytest.fail(str(error))

    @optional
    def test_it_is_the_chat_template_of_its_tokenizer(self, item: ChatTemplate) -> None:
        if not self.tokenizer:
            pytest.skip("no tokenizer is named: set `tokenizer` to a model folder to compare token by token")
        from transformers import AutoTokenizer

        report = check_named(item, RenderOptions(), AutoTokenizer.from_pretrained(self.tokenizer))
        assert report.ok, "\n".join(report.lines())

    def test_threads_and_processes_get_the_same(self, item: ChatTemplate, bound: BoundTemplate) -> None:
        from plugtune.templating.load import digest

        conversations = [_conversation(example) for example in item.examples]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: repr(bound.encode(conversations)), range(16)))
        assert len(set(answers)) == 1
        assert _digests()[self.name] == digest(item)


def _chat(question: str, answer: str) -> Conversation:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return conversation_of({"messages": messages})


def _conversation(example: TemplateExample) -> Conversation:
    return conversation_of({"messages": list(example.messages), "tools": list(example.tools)})


def _with_options(bound: BoundTemplate, example: TemplateExample) -> BoundTemplate:
    thinking = (example.options or {}).get("enable_thinking", True)
    return BoundTemplate(bound.template, bound.tokenizer, RenderOptions(enable_thinking=thinking))


def _written(text: str, bound: BoundTemplate) -> str:
    """The text of an example, whose `<s>` and `</s>` stand for the tokenizer's own tokens, on this tokenizer."""
    replaced: Any = bound.template.replace_eos and bound.template.stop
    return text if replaced else text.replace("</s>", bound.eos_text())

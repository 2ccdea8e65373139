"""`auto`: masks from generation blocks or prefixes, slow tokenizers, and rows that the own template leaves half out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from plugtune.data.records import Conversation, Message, RowError, ToolCall
from plugtune.templating.answers import Span
from plugtune.templating.auto import TokenizerTemplate
from plugtune.templating.cutting import cut_by_prefixes
from plugtune.templating.probes import PROBES, TOOL_PROBES

MARKED = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}{{ '<|im_start|>assistant\n' }}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
REWRITES = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' and loop.last %}{{ '<think>' }}{% endif %}"
    "{{ message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TWO = Conversation(
    (Message("user", "Hi"), Message("assistant", "Hello!"), Message("user", "Bye"), Message("assistant", "See you."))
)


@pytest.fixture
def own(model_dir):
    """A fresh tokenizer, whose chat template a test may change."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(model_dir)


def ids_and_labels(chat):
    ids = [token for prompt, answer in chat.turns for token in prompt + answer]
    labels = [
        label
        for (prompt, answer), train in zip(chat.turns, chat.trained, strict=True)
        for label in [-100] * len(prompt) + (answer if train else [-100] * len(answer))
    ]
    return ids, labels


class Slow:
    """The tokenizer as a slow one: no offsets."""

    is_fast = False

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def __call__(self, text, **choices):
        assert "return_offsets_mapping" not in choices
        return self._tokenizer(text, **choices)


@pytest.mark.parametrize("chat", PROBES)
def test_generation_blocks_decide_what_is_learnt(own, chat):
    own.chat_template = MARKED
    messages = [{"role": m.role, "content": m.content} for m in chat.messages]
    truth = own.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
    expected = [i if m else -100 for i, m in zip(truth["input_ids"], truth["assistant_masks"], strict=True)]
    ids, labels = ids_and_labels(TokenizerTemplate(own).encode([chat])[0])
    # Nothing is learnt behind the last marked token, here a line end; the row ends with it.
    assert ids == truth["input_ids"][: len(ids)]
    assert labels == expected[: len(ids)]
    assert set(expected[len(ids) :]) <= {-100}
    assert own.decode([label for label in labels if label != -100]).count("<|im_end|>") == len(chat.messages) // 2


def test_an_answer_that_is_not_to_be_learnt_is_not_learnt_though_it_is_marked(own):
    own.chat_template = MARKED
    first = Message("assistant", "Hello!", train=False)
    chat = TokenizerTemplate(own).encode([Conversation((TWO.messages[0], first, *TWO.messages[2:]))])[0]
    assert (chat.trained, chat.unlearnable) == ([False, True], 0)


def test_a_template_that_marks_some_answers_only_is_read_by_prefixes(own):
    own.chat_template = MARKED.replace("{% generation %}", "{% if loop.last %}{% generation %}").replace(
        "{% endgeneration %}", "{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}"
    )
    chat = TokenizerTemplate(own).encode([TWO])[0]
    assert [own.decode(answer) for _, answer in chat.turns] == ["Hello!<|im_end|>\n", "See you.<|im_end|>\n"]


def test_answers_that_the_template_rewrites_later_are_counted(own):
    own.chat_template = REWRITES
    chat = TokenizerTemplate(own).encode([TWO])[0]
    assert [own.decode(answer) for _, answer in chat.turns] == ["<think>See you.<|im_end|>\n"]
    assert chat.unlearnable == 1


@pytest.mark.parametrize("template", [None, MARKED])
def test_a_slow_tokenizer_gives_the_same_rows(own, template):
    fast = TokenizerTemplate(own).encode(list(PROBES))
    own.chat_template = template or own.chat_template
    slow = TokenizerTemplate(Slow(own)).encode(list(PROBES))
    assert [ids_and_labels(chat) for chat in slow] == [ids_and_labels(chat) for chat in fast]


def test_a_tokenizer_written_in_python_gives_the_ids_of_its_own_chat_template(own):
    from transformers import ByT5Tokenizer

    slow = ByT5Tokenizer()
    slow.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    slow.chat_template = own.chat_template
    assert not slow.is_fast
    for chat in PROBES:
        encoded = TokenizerTemplate(slow).encode([chat])[0]
        messages = [{"role": m.role, "content": m.content} for m in chat.messages]
        assert ids_and_labels(encoded)[0] == slow.apply_chat_template(messages, tokenize=True, return_dict=False)
        answers = [m.content for m in chat.messages if m.role == "assistant"]
        assert [slow.decode(answer) for _, answer in encoded.turns] == [f"{a}<|im_end|>\n" for a in answers]


def test_a_slow_tokenizer_that_joins_prompt_and_answer_is_refused_by_row():
    joined = cut_by_prefixes(lambda text: [len(word) for word in text.split()], "ask: answer", [Span(3, 11, True)])
    assert isinstance(joined, RowError)
    assert "slow tokenizer joins" in str(joined)
    assert "use_fast_tokenizer" in joined.fix


def test_tools_that_the_own_template_leaves_out_are_an_error_of_the_row(own):
    called = Conversation((Message("user", "go"), Message("assistant", "", (ToolCall("get_weather", {}),))))
    for chat in (TOOL_PROBES[0], called):
        refused = TokenizerTemplate(own).encode([chat])[0]
        assert isinstance(refused, RowError)
        assert "leaves the tool 'get_weather' out" in str(refused)
    with pytest.raises(RowError, match="get_weather"):
        TokenizerTemplate(own).encode_prompt(Conversation(TOOL_PROBES[0].messages[:1], TOOL_PROBES[0].tools))


def test_tools_reach_the_own_template_in_the_shape_that_clients_send(own):
    own.chat_template = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}" + own.chat_template
    chat = Conversation(TWO.messages[:2], ({"name": "f"},))
    assert TokenizerTemplate(own).text(chat).startswith('{"type": "function", "function": {"name": "f"}}<|im_start|>')


def test_a_tokenizer_with_several_templates_keeps_them(own):
    templates = {"default": own.chat_template, "tool_use": own.chat_template}
    own.chat_template = templates
    template = TokenizerTemplate(own)
    assert template.chat_template() == templates
    assert len(template.encode([TWO])[0].turns) == 2


def test_the_digest_changes_with_what_decides_ids_and_masks(own):
    first = TokenizerTemplate(own).digest
    assert TokenizerTemplate(own).digest == first
    assert TokenizerTemplate(own, default_system="x").digest != first
    own.chat_template = MARKED
    assert TokenizerTemplate(own).digest != first


def test_a_tokenizer_without_a_chat_template_is_refused():
    from plugtune.errors import RequestError

    with pytest.raises(RequestError, match="no chat template of its own"):
        TokenizerTemplate(SimpleNamespace(chat_template=None))

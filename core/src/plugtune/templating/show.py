"""A conversation as a template writes it, for people and scripts: text in segments, with what is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plugtune.data.records import Conversation, RowError, TokenizedChat
from plugtune.templating.api import TemplateOnTokenizer
from plugtune.templating.auto import TokenizerTemplate
from plugtune.templating.bound import BoundTemplate
from plugtune.templating.examples import BOS, EOS
from plugtune.templating.model import ChatTemplate, Segment
from plugtune.templating.render import RenderOptions, render, segments, written

IGNORE = -100
Part = dict[str, Any]


def without_tokenizer(template: ChatTemplate, conversation: Conversation, options: RenderOptions) -> dict[str, Any]:
    """Segments of a template of pieces, with placeholders for the tokenizer's own tokens.

    A conversation that ends with a question is shown as the prompt that the model answers: nothing in it is trained on.

    Raises:
        RowError: the conversation cannot be written in this template.
    """
    eos = template.stop[0] if template.replace_eos and template.stop else EOS
    prompt = asks(conversation)
    parts = _parts(segments(template, render(template, conversation, options, generation=prompt)), BOS, eos, prompt)
    return _answer(template.name, parts, template.stop)


def with_tokenizer(bound: TemplateOnTokenizer, conversation: Conversation) -> dict[str, Any]:
    """Segments, token ids and labels of a template on a tokenizer; a prompt as in `without_tokenizer`.

    Raises:
        RowError: the conversation cannot be written in this template.
    """
    if asks(conversation):
        return _prompt(bound, conversation)
    chat = bound.encode([conversation])[0]
    if isinstance(chat, RowError):
        raise chat
    if isinstance(bound, TokenizerTemplate):
        text, spans = bound.spans(conversation)
        parts = _slices(text, spans)
        all_ids: list[int] | None = list(bound.tokenizer(text, add_special_tokens=False)["input_ids"])
    else:
        assert isinstance(bound, BoundTemplate)
        turns = render(bound.template, conversation, bound.options)
        parts = _parts(segments(bound.template, turns), bound.tokenizer.bos_token or "", bound.eos_text())
        all_ids = None
    ids, labels = _ids_and_labels(chat)
    # What an own template writes behind the last answer is no part of a training row; it is shown all the same.
    rest = (all_ids or ids)[len(ids) :]
    answer = _answer(bound.name, parts, bound.stop)
    answer |= {"input_ids": ids + rest, "labels": labels + [IGNORE] * len(rest)}
    return answer | ({"unlearnable": chat.unlearnable} if chat.unlearnable else {})


def asks(conversation: Conversation) -> bool:
    """Whether a conversation ends with a question or a tool's result, so that an answer is to come."""
    return conversation.messages[-1].role in ("user", "tool")


def _prompt(bound: TemplateOnTokenizer, conversation: Conversation) -> dict[str, Any]:
    ids = bound.encode_prompt(conversation)
    if isinstance(bound, BoundTemplate):
        turns = render(bound.template, conversation, bound.options, generation=True)
        parts = _parts(segments(bound.template, turns), bound.tokenizer.bos_token or "", bound.eos_text(), True)
    else:
        assert isinstance(bound, TokenizerTemplate)
        text = str(bound.render(bound.messages(conversation), conversation, generation=True))
        parts = [{"text": text, "train": False}]
    return _answer(bound.name, parts, bound.stop) | {"input_ids": ids, "labels": [IGNORE] * len(ids)}


def _answer(name: str, parts: list[Part], stop: Sequence[str]) -> dict[str, Any]:
    return {"template": name, "segments": parts, "text": "".join(part["text"] for part in parts), "stop": list(stop)}


def _parts(items: Sequence[Segment], bos: str, eos: str, prompt: bool = False) -> list[Part]:
    return [{"text": written(item.piece, bos, eos), "train": item.train and not prompt} for item in items]


def _slices(text: str, spans: Sequence[tuple[int, int, bool]]) -> list[Part]:
    parts: list[Part] = []
    position = 0
    for start, end, train in spans:
        parts += [{"text": text[position:start], "train": False}, {"text": text[start:end], "train": train}]
        position = end
    parts.append({"text": text[position:], "train": False})
    return [part for part in parts if part["text"]]


def _ids_and_labels(chat: TokenizedChat) -> tuple[list[int], list[int]]:
    from plugtune.data.lengths import LengthRules, assemble

    outcome = assemble(chat, LengthRules(1 << 30))
    if isinstance(outcome, list):
        columns = outcome[0].columns
        return list(columns["input_ids"]), list(columns["labels"])
    # Nothing in it is trained on: the ids all the same.
    ids = [token for prompt, answer in chat.turns for token in prompt + answer] + chat.tail
    return ids, [IGNORE] * len(ids)

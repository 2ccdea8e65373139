"""`template: auto`: the tokenizer's own chat template, with exact masks.

The text is rendered once by the tokenizer's template and tokenized whole, so the ids are those of
`apply_chat_template`. Where each answer begins and ends is found by rendering prefixes: what the template writes for
the messages before an
answer (with its generation prompt) must begin what it writes for the messages with it. A template
that rewrites history (drops earlier thoughts, say) fails that for earlier answers; they stay as context, untrained.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from plugtune.data.records import Conversation, Message, RowError, TokenizedChat
from plugtune.errors import RequestError
from plugtune.templating.vocabulary import vocabulary_digest


class TokenizerTemplate:
    """Implements `templating.api.TemplateOnTokenizer` for a tokenizer's own Jinja template."""

    name = "auto"

    def __init__(self, tokenizer: Any, *, enable_thinking: bool = True, default_system: str | None = None) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise RequestError(
                "this tokenizer has no chat template of its own", where="template",
                fix="name one with --template (plugtune list templates)",
            )  # fmt: skip
        self.tokenizer, self.enable_thinking, self.default_system = tokenizer, enable_thinking, default_system
        parts = [tokenizer.chat_template, enable_thinking, default_system, vocabulary_digest(tokenizer)]
        self.digest = hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()
        eos = tokenizer.eos_token
        self.stop: tuple[str, ...] = (eos,) if eos else ()

    def _messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        messages = list(conversation.messages)
        if self.default_system is not None and (not messages or messages[0].role != "system"):
            messages.insert(0, Message("system", self.default_system))
        return [_openai(message) for message in messages]

    def render(self, messages: list[dict[str, Any]], conversation: Conversation, *, generation: bool = False) -> str:
        """The template's text.

        Raises:
            RowError: the template refuses the conversation; keeps its words.
        """
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, tools=[dict(t) for t in conversation.tools] or None, tokenize=False,
                    add_generation_prompt=generation, enable_thinking=self.enable_thinking,
                )
            )  # fmt: skip
        except Exception as error:  # jinja2.TemplateError and whatever a template raises
            raise RowError(f"the tokenizer's chat template refuses this row: {error}", field="messages") from error

    def encode(self, conversations: Sequence[Conversation]) -> list[TokenizedChat | RowError]:
        """Token ids of conversations with the turns that prefix rendering finds."""
        spans: list[tuple[str, list[tuple[int, int, bool]]] | RowError] = []
        for conversation in conversations:
            try:
                spans.append(self._spans(conversation))
            except RowError as error:
                spans.append(error)
        texts = [item[0] for item in spans if not isinstance(item, RowError)]
        encoded = (
            iter(self.tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True).encodings or [])
            if texts
            else iter(())
        )
        return [item if isinstance(item, RowError) else _cut_at(next(encoded), item[1]) for item in spans]

    def _spans(self, conversation: Conversation) -> tuple[str, list[tuple[int, int, bool]]]:
        messages = self._messages(conversation)
        whole = self.render(messages, conversation)
        spans: list[tuple[int, int, bool]] = []
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self.render(messages[:index], conversation, generation=True)
            after = whole if index == len(messages) - 1 else self.render(messages[: index + 1], conversation)
            if after.startswith(before) and whole.startswith(after):
                spans.append((len(before), len(after), conversation.messages[index - len(messages)].train))
        if not spans:
            raise RowError(
                "the tokenizer's chat template does not write answers where it asks for them", field="messages",
                fix="name a template with --template",
            )  # fmt: skip
        return whole, spans

    def encode_prompt(self, conversation: Conversation) -> list[int]:
        """Token ids ready for generation."""
        text = self.render(self._messages(conversation), conversation, generation=True)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def stop_token_ids(self) -> list[int]:
        """The end-of-sequence token."""
        return [] if self.tokenizer.eos_token_id is None else [int(self.tokenizer.eos_token_id)]

    def text(self, conversation: Conversation) -> str:
        """The whole conversation as text."""
        return self.render(self._messages(conversation), conversation)

    def chat_template(self) -> str:
        """The tokenizer's own."""
        return str(self.tokenizer.chat_template)


def _cut_at(encoding: Any, spans: list[tuple[int, int, bool]]) -> TokenizedChat:
    """Ids between spans are prompts, ids inside them answers; what follows the last one closes it, untrained."""
    turns: list[tuple[list[int], list[int]]] = []
    position, ids, offsets = 0, encoding.ids, encoding.offsets
    for start, end, _ in spans:
        first = position
        while first < len(ids) and offsets[first][0] < start:
            first += 1
        last = first
        while last < len(ids) and offsets[last][0] < end:
            last += 1
        turns.append((ids[position:first], ids[first:last]))
        position = last
    return TokenizedChat(turns, [train for _, _, train in spans])


def _openai(message: Message) -> dict[str, Any]:
    result: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        result["reasoning_content"] = message.reasoning
    if message.tool_calls:
        result["tool_calls"] = [
            {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in message.tool_calls
        ]
    return result

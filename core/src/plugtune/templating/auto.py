"""`template: auto`: the tokenizer's own chat template, with exact masks.

The text is rendered once by the tokenizer's template and tokenized whole, so the ids are those of
`apply_chat_template`; `templating.answers` finds where each answer stands in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from plugtune.data.records import Conversation, Message, RowError, TokenizedChat
from plugtune.errors import RequestError
from plugtune.templating.answers import Span, marked_answers, marks_answers, prefix_answers, refuse_left_out
from plugtune.templating.counting import counted
from plugtune.templating.cutting import cut_by_offsets, cut_by_prefixes
from plugtune.templating.openai import message_for_jinja
from plugtune.templating.tools.style import wrapped
from plugtune.templating.vocabulary import vocabulary_digest

MASKS = 2
"""Counts up whenever masks are found in another way; part of the digest."""


def no_own_template(usual: str = "") -> RequestError:
    """The error of template auto on a tokenizer without a chat template; `usual` is the one of the model's family."""
    return RequestError(
        "this tokenizer has no chat template of its own", where="template",
        fix="name one with --template (plugtune list templates)"
        + (f"; chat models of its family use {usual}" if usual else ""),
    )  # fmt: skip


class TokenizerTemplate:
    """Implements `templating.api.TemplateOnTokenizer` for a tokenizer's own Jinja template."""

    name = "auto"

    def __init__(self, tokenizer: Any, *, enable_thinking: bool = True, default_system: str | None = None) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise no_own_template()
        self.tokenizer, self.enable_thinking, self.default_system = tokenizer, enable_thinking, default_system
        parts = [MASKS, tokenizer.chat_template, enable_thinking, default_system, vocabulary_digest(tokenizer)]
        self.digest = hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()
        eos = tokenizer.eos_token
        self.stop: tuple[str, ...] = (eos,) if eos else ()

    def messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        """The messages as the template reads them, with the default system prompt put in."""
        messages = list(conversation.messages)
        if self.default_system is not None and (not messages or messages[0].role != "system"):
            messages.insert(0, Message("system", self.default_system))
        return [message_for_jinja(message) for message in messages]

    def render(
        self, messages: list[dict[str, Any]], conversation: Conversation, *, generation: bool = False, **choices: Any
    ) -> Any:
        """What `apply_chat_template` gives: the text, unless `choices` ask for more.

        Raises:
            RowError: the template refuses the conversation; keeps its words.
        """
        # Clients send tools in the OpenAI wrapping: what the model learns is what it will see then.
        tools = [dict(wrapped(tool)) for tool in conversation.tools] or None
        try:
            return self.tokenizer.apply_chat_template(
                messages, tools=tools, add_generation_prompt=generation, enable_thinking=self.enable_thinking,
                **({"tokenize": False} | choices),
            )  # fmt: skip
        except Exception as error:  # jinja2.TemplateError and whatever a template raises
            raise RowError(f"the tokenizer's chat template refuses this row: {error}", field="messages") from error

    def encode(self, conversations: Sequence[Conversation]) -> list[TokenizedChat | RowError]:
        """Token ids of conversations; answers whose place is not certain are context, and counted as unlearnable."""
        found: list[tuple[str, list[Span]] | RowError] = []
        for conversation in conversations:
            try:
                found.append(self.spans(conversation))
            except RowError as error:
                found.append(error)
        chats = iter(self._cut([item for item in found if not isinstance(item, RowError)]))
        return [
            item if isinstance(item, RowError) else counted(next(chats), conversation)
            for item, conversation in zip(found, conversations, strict=True)
        ]

    def _cut(self, found: list[tuple[str, list[Span]]]) -> list[TokenizedChat | RowError]:
        if not found:
            return []
        if not getattr(self.tokenizer, "is_fast", False):
            return [cut_by_prefixes(self._ids, text, spans) for text, spans in found]
        encodings = self.tokenizer(
            [text for text, _ in found], add_special_tokens=False, return_offsets_mapping=True
        ).encodings
        return [cut_by_offsets(e.ids, e.offsets, spans) for e, (_, spans) in zip(encodings, found, strict=True)]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def spans(self, conversation: Conversation) -> tuple[str, list[Span]]:
        """The whole text, and where the answers stand in it.

        Raises:
            RowError: the template refuses the conversation or leaves its tools out, or no answer can be found in it.
        """
        messages = self.messages(conversation)
        spans = None
        whole = str(self.render(messages, conversation))
        refuse_left_out(conversation, whole)
        if marks_answers(self.tokenizer, conversation):
            spans = marked_answers(self, messages, conversation)
        if spans is None:
            spans = prefix_answers(self, messages, conversation, whole)
        if not spans:
            raise RowError(
                "the tokenizer's chat template does not write answers where it asks for them", field="messages",
                fix="name a template with --template",
            )  # fmt: skip
        return whole, spans

    def encode_prompt(self, conversation: Conversation) -> list[int]:
        """Token ids ready for generation."""
        text = str(self.render(self.messages(conversation), conversation, generation=True))
        refuse_left_out(conversation, text)
        return self._ids(text)

    def stop_token_ids(self) -> list[int]:
        """The end-of-sequence token."""
        return [] if self.tokenizer.eos_token_id is None else [int(self.tokenizer.eos_token_id)]

    def text(self, conversation: Conversation) -> str:
        """The whole conversation as text."""
        return str(self.render(self.messages(conversation), conversation))

    def chat_template(self) -> str:
        """The tokenizer's own; a few tokenizers have several by name, which stay together."""
        own: str = self.tokenizer.chat_template
        return own

    def chat_template_note(self) -> str:
        """Nothing to note: it is the very template that training used."""
        return ""

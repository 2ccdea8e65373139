"""What the rest of core expects of a template that is joined to a tokenizer.

Two classes meet it: `templating.bound.BoundTemplate` (a `ChatTemplate`) and `templating.auto.TokenizerTemplate`
(`template: auto`, the tokenizer's own chat template). Whoever encodes rows, generates or exports calls only this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from plugtune.data.records import Conversation, RowError, TokenizedChat


class TemplateOnTokenizer(Protocol):
    """A chat template ready to make token ids.

    Attributes:
        name: the template's name, `auto` for the tokenizer's own.
        digest: hex SHA-256 over everything that decides ids and masks; part of the data cache's key and of run.json.
        stop: words that end an answer.
    """

    name: str
    digest: str
    stop: tuple[str, ...]

    def encode(self, conversations: Sequence[Conversation]) -> list[TokenizedChat | RowError]:
        """Token ids of whole conversations, batched through the fast tokenizer; one result per conversation.

        The result is a `RowError` when that conversation cannot be written in this template.
        """
        ...

    def encode_prompt(self, conversation: Conversation) -> list[int]:
        """Token ids of a conversation that ends before an answer, ready for generation."""
        ...

    def stop_token_ids(self) -> list[int]:
        """Ids that end an answer: end-of-sequence and the stop words that are single tokens, sorted."""
        ...

    def chat_template(self) -> str:
        """The Jinja chat template to store with the tokenizer.

        Raises:
            PlugtuneError: no Jinja form gives the same token ids (law 7).
        """
        ...

    def chat_template_note(self) -> str:
        """What the stored chat template cannot do although training could (tools, say); empty when there is nothing."""
        ...

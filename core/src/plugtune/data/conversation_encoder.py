"""Conversations → token rows with labels, for stages that learn answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from plugtune.data.encoding import EncodeOutcome, EncoderContext
from plugtune.data.lengths import LengthRules, assemble
from plugtune.data.records import Conversation, Record, RowError

AT_ONCE = 128
"""Conversations in one call of the tokenizer: enough for its threads, few enough that the results stay in the cache."""


class ConversationEncoder:
    """Rows `input_ids`, `labels` (-100 where not trained on); the template writes them, the length rules bound them."""

    columns = ("input_ids", "labels")

    def __init__(self, context: EncoderContext) -> None:
        if context.template is None:
            raise ValueError("a conversation encoder needs a template")
        self.template = context.template
        data = context.data
        self.rules = LengthRules(data.cutoff_len, data.long_rows, data.train_on_prompt, data.mask_history)
        self.fingerprint = f"conversation 2 {self.template.name} {self.template.digest} {self.rules}"

    def encode(self, records: Sequence[Record]) -> list[EncodeOutcome]:
        """One outcome for each conversation."""
        outcomes: list[EncodeOutcome] = []
        for start in range(0, len(records), AT_ONCE):
            chats = self.template.encode(cast("Sequence[Conversation]", records[start : start + AT_ONCE]))
            outcomes += [chat if isinstance(chat, RowError) else assemble(chat, self.rules) for chat in chats]
        return outcomes

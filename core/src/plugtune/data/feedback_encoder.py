"""Judged answers → token rows of a prompt, its answer and the judgement; for stages that learn from feedback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from plugtune.data.answered import AnswerRules, last_turn
from plugtune.data.conversation_encoder import AT_ONCE
from plugtune.data.encoding import EncodedRow, EncodeOutcome, EncoderContext
from plugtune.data.records import Feedback, Record, RowError, TokenizedChat


class FeedbackEncoder:
    """Rows `prompt_ids`, `answer_ids` and `desirable` (one number: 1 for a good answer, 0 for a bad one)."""

    columns = ("prompt_ids", "answer_ids", "desirable")

    def __init__(self, context: EncoderContext) -> None:
        if context.template is None:
            raise ValueError("a feedback encoder needs a template")
        self.template = context.template
        self.rules = AnswerRules(context.data.cutoff_len, context.data.long_rows)
        self.fingerprint = f"feedback 1 {self.template.name} {self.template.digest} {self.rules}"

    def encode(self, records: Sequence[Record]) -> list[EncodeOutcome]:
        """One outcome for each judged answer."""
        outcomes: list[EncodeOutcome] = []
        for start in range(0, len(records), AT_ONCE):
            judged = cast("Sequence[Feedback]", records[start : start + AT_ONCE])
            chats = self.template.encode([item.conversation for item in judged])
            outcomes += [self._row(chat, item.desirable) for chat, item in zip(chats, judged, strict=True)]
        return outcomes

    def _row(self, chat: TokenizedChat | RowError, desirable: bool) -> EncodeOutcome:
        if isinstance(chat, RowError):
            return chat
        prompt, answer = last_turn(chat)
        parts = self.rules.fit(prompt, (answer,))
        if not isinstance(parts, list):
            return parts
        total = sum(map(len, parts))
        columns = {"prompt_ids": parts[0], "answer_ids": parts[1], "desirable": [int(desirable)]}
        return [EncodedRow(columns, len(prompt) + len(answer) - total, size=(total, len(parts[1])))]

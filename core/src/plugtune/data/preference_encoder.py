"""Preferences → token rows of a prompt, a better and a worse answer; for stages that compare answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from plugtune.data.answered import AnswerRules, last_turn
from plugtune.data.conversation_encoder import AT_ONCE
from plugtune.data.encoding import EncodedRow, EncodeOutcome, EncoderContext
from plugtune.data.records import Conversation, Message, Preference, Record, RowError, TokenizedChat


class PreferenceEncoder:
    """Rows `prompt_ids`, `chosen_ids`, `rejected_ids`.

    `prompt_ids + chosen_ids` are the ids of the same conversation in supervised fine-tuning; likewise the rejected
    answer. `cutoff_len` bounds the prompt with the longest of its answers (`AnswerRules`).
    """

    columns = ("prompt_ids", "chosen_ids", "rejected_ids")

    def __init__(self, context: EncoderContext) -> None:
        if context.template is None:
            raise ValueError("a preference encoder needs a template")
        self.template = context.template
        self.rules = AnswerRules(context.data.cutoff_len, context.data.long_rows)
        self.fingerprint = f"preference 1 {self.template.name} {self.template.digest} {self.rules}"

    def encode(self, records: Sequence[Record]) -> list[EncodeOutcome]:
        """One outcome for each preference."""
        outcomes: list[EncodeOutcome] = []
        for start in range(0, len(records), AT_ONCE // 2):
            pairs = cast("Sequence[Preference]", records[start : start + AT_ONCE // 2])
            chats = self.template.encode(
                [_with(pair.prompt, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)]
            )
            outcomes += [self._row(*two) for two in zip(chats[::2], chats[1::2], strict=True)]
        return outcomes

    def _row(self, chosen: TokenizedChat | RowError, rejected: TokenizedChat | RowError) -> EncodeOutcome:
        if isinstance(chosen, RowError):
            return chosen
        if isinstance(rejected, RowError):
            return rejected
        prompt, better = last_turn(chosen)
        same_prompt, worse = last_turn(rejected)
        if prompt != same_prompt:
            return RowError(
                "the template writes the prompt differently for the chosen and for the rejected answer",
                fix="give both answers the same form (reasoning, tool calls)",
            )
        parts = self.rules.fit(prompt, (better, worse))
        if not isinstance(parts, list):
            return parts
        total, trained = sum(map(len, parts)), sum(map(len, parts[1:]))
        cut = len(prompt) + len(better) + len(worse) - total
        return [EncodedRow(dict(zip(self.columns, parts, strict=True)), cut, size=(total, trained))]


def _with(prompt: Conversation, answer: Message) -> Conversation:
    return replace(prompt, messages=(*prompt.messages, answer))

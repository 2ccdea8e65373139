"""Conversations → token rows of prompts, for stages that sample the answers themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from plugtune.data.encoding import Dropped, EncodedRow, EncodeOutcome, EncoderContext
from plugtune.data.records import Conversation, Record, RowError


class PromptEncoder:
    """Rows `prompt_ids`: the conversation up to its last answer, ready for generation; that answer is not used.

    A prompt longer than `cutoff_len` is left out and counted whatever `long_rows` says but `error`: a cut prompt would
    be another question, or would lack the words that open the answer.
    """

    columns = ("prompt_ids",)

    def __init__(self, context: EncoderContext) -> None:
        if context.template is None:
            raise ValueError("a prompt encoder needs a template")
        self.template = context.template
        self.cutoff, self.policy = context.data.cutoff_len, context.data.long_rows
        self.fingerprint = f"prompt 1 {self.template.name} {self.template.digest} {self.cutoff} {self.policy}"

    def encode(self, records: Sequence[Record]) -> list[EncodeOutcome]:
        """One outcome for each conversation."""
        return [self._row(conversation) for conversation in cast("Sequence[Conversation]", records)]

    def _row(self, conversation: Conversation) -> EncodeOutcome:
        messages = conversation.messages
        while messages and messages[-1].role == "assistant":
            messages = messages[:-1]
        if not any(message.role in ("user", "tool") for message in messages):
            return RowError("there is no question before the answer", field="messages")
        try:
            ids = self.template.encode_prompt(replace(conversation, messages=messages))
        except RowError as error:
            return error
        if len(ids) <= self.cutoff:
            return [EncodedRow({"prompt_ids": ids}, size=(len(ids), 0))]
        if self.policy == "error":
            return RowError(f"the prompt has {len(ids)} tokens and cutoff_len is {self.cutoff}", fix="raise cutoff_len")
        return Dropped(f"prompt longer than cutoff_len {self.cutoff}")

"""What a data set row means once a format has read it: conversations, preferences, feedback, documents.

These records know nothing of files, columns, templates or tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that an assistant makes: the function's name and its arguments as a JSON-able object."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `reasoning` is thought that stands before the answer; `train=False` keeps an answer out of the loss."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    train: bool = True


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order (an optional system message first), and the tools offered, in the OpenAI function shape.

    `system=None` inside `messages` means that the row named no system prompt, so that the template's default applies;
    an empty system message means that the row wants none.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Preference:
    """A prompt (conversation that ends before the answer) with a better and a worse answer."""

    prompt: Conversation
    chosen: Message
    rejected: Message


@dataclass(frozen=True, slots=True)
class Feedback:
    """A conversation whose last answer was judged good or bad (Kahneman-Tversky data)."""

    conversation: Conversation
    desirable: bool


@dataclass(frozen=True, slots=True)
class Document:
    """Plain text for pre-training."""

    text: str


Record = Conversation | Preference | Feedback | Document
RecordKind = Literal["conversation", "preference", "feedback", "document"]
RECORDS: dict[str, type] = {
    "conversation": Conversation, "preference": Preference, "feedback": Feedback, "document": Document,
}  # fmt: skip
"""Kind → the class of its records."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a row stands: the file, and the row counted from 1 (for line-based files also the line)."""

    file: str
    row: int
    line: int | None = None

    def __str__(self) -> str:
        line = f", line {self.line}" if self.line is not None else ""
        return f"{self.file}, row {self.row}{line}"


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as its file has it, before any format has looked at it."""

    values: Mapping[str, Any]
    where: Where


@dataclass(slots=True)
class TokenizedChat:
    """A conversation in tokens, before any length policy.

    Attributes:
        turns: (prompt ids, answer ids) for each assistant message in order; the prompt holds everything since the
            previous answer (prefix and system text in the first one).
        trained: for each turn, whether its answer is trained on.
        tail: closing ids after the last answer (an end-of-sequence that a template puts once); trained on.
        unlearnable: answers that the row wanted trained on and that the template's form leaves as context only.
    """

    turns: list[tuple[list[int], list[int]]]
    trained: list[bool] = field(default_factory=list)
    tail: list[int] = field(default_factory=list)
    unlearnable: int = 0


class RowError(Exception):
    """A row that cannot become a record: the field, the reason and the way out. The reader adds the place."""

    def __init__(self, reason: str, *, field: str = "", fix: str = "") -> None:
        self.field, self.reason, self.fix = field, reason, fix
        super().__init__(f"field {field!r}: {reason}" if field else reason)


class RowLeftOut(Exception):
    """A row that a rule leaves out on purpose: it is counted as dropped, with the reason, and is no mistake."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)

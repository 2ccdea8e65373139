"""What an answer is held to while it is drawn: which tokens may come next. Knows no language of rules itself.

A guide belongs to one row and is asked before each of its tokens. Fixed texts are held to by their tokens; what lies
between them is judged by whoever makes the guide (a JSON schema, say).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch


class Guide(Protocol):
    """Holds one answer to a form."""

    def allow(self, answer: Sequence[int], logits: torch.Tensor) -> torch.Tensor:
        """Logits `(vocabulary,)` of the next token, those that may not come at minus infinity.

        Args:
            answer: tokens of the answer so far; it grows by one from call to call.
            logits: those of the model, which are left as they are.
        """
        ...


class Part(Protocol):
    """A stretch of a guided answer."""

    def mask(self) -> torch.Tensor | None:
        """Which tokens may come next, `(n,)` bool; `None` when the part is over."""
        ...

    def take(self, token: int) -> None:
        """A token was drawn."""
        ...


class Texts:
    """One of several token sequences.

    Args:
        choices: the sequences.
        size: of the vocabulary.
    """

    def __init__(self, choices: Sequence[Sequence[int]], size: int) -> None:
        self.left, self.size, self.place = [list(choice) for choice in choices], size, 0

    @property
    def chosen(self) -> list[int]:
        """The sequence that was drawn, once it is over."""
        return self.left[0]

    def mask(self) -> torch.Tensor | None:
        """See `Part`. A sequence that begins another one cannot be told from it, and is over first."""
        if any(len(choice) == self.place for choice in self.left):
            self.left = [choice for choice in self.left if len(choice) == self.place]
            return None
        allowed = torch.zeros(self.size, dtype=torch.bool)
        allowed[[choice[self.place] for choice in self.left]] = True
        return allowed

    def take(self, token: int) -> None:
        """See `Part`."""
        self.left = [choice for choice in self.left if choice[self.place] == token]
        self.place += 1


class Parts:
    """A guide of parts one after another, then the end of the answer.

    Args:
        parts: the parts; `after` may name more when the last of them is over.
        ends: tokens that end an answer.
    """

    def __init__(self, parts: Sequence[Part], ends: frozenset[int]) -> None:
        self.parts, self.ends, self.seen = list(parts), ends, 0

    def after(self, part: Part) -> Sequence[Part]:
        """Parts that follow from how a part came out."""
        return ()

    def allow(self, answer: Sequence[int], logits: torch.Tensor) -> torch.Tensor:
        """See `Guide`."""
        for token in answer[self.seen :]:
            if self.parts:
                self.parts[0].take(token)
        self.seen = len(answer)
        allowed = None
        while self.parts and (allowed := self.parts[0].mask()) is None:
            done = self.parts.pop(0)
            self.parts = [*self.after(done), *self.parts]
        if allowed is None:
            allowed = torch.zeros(logits.shape[0], dtype=torch.bool)
            allowed[list(self.ends)] = True
        kept = torch.zeros(logits.shape[0], dtype=torch.bool)
        count = min(len(allowed), len(kept))
        kept[:count] = allowed[:count]
        return logits.masked_fill(~kept.to(logits.device), float("-inf"))

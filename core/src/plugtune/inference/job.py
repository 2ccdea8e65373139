"""One answer with its text: a row of the batch and what can be shown of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from plugtune.inference.batch import Row
from plugtune.inference.pieces import Piece, Text


@dataclass(slots=True, eq=False)
class Job:
    """An answer in the making: tokens in `row`, text in `text`."""

    row: Row
    writer: Text
    text: str = ""
    told: int = field(default=0, init=False)

    @classmethod
    def of(cls, row: Row, tokenizer: Any, stop: tuple[str, ...], lead: str = "") -> Job:
        """A job for a row.

        Args:
            stop: texts that end the answer, besides those of the row's settings.
            lead: text before the answer that is not part of it.
        """
        words = tuple(dict.fromkeys((*row.sampling.stop, *stop)))
        return cls(row, Text(tokenizer, words, row.sampling.skip_special_tokens, lead))

    @property
    def done(self) -> bool:
        """Whether the answer is finished."""
        return bool(self.row.finish)

    def advance(self) -> Piece | None:
        """What is new since the last call; `None` while nothing can be shown yet. Ends the row at a stop text."""
        new = self.writer.feed(self.row.ids, last=bool(self.row.finish))
        if self.writer.stopped and self.row.finish != "cancelled":
            self.row.finish = "stop"
        if not new and not self.row.finish:
            return None
        self.text += new
        piece = Piece(new, self.told, len(self.row.ids), self.row.finish)
        self.told = len(self.row.ids)
        return piece

"""From tokens to text, piece by piece: whole characters only, and nothing that may yet turn out to be a stop text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

UNFINISHED = "\ufffd"
"""What a tokenizer writes for bytes that are no whole character (yet)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """New text of an answer, the tokens that were taken meanwhile (their places in the row), and how it ended."""

    text: str
    start: int
    end: int
    finish: str = ""


@dataclass(slots=True)
class Text:
    """The text of one answer as it grows; the pieces joined are the whole text.

    Attributes:
        tokenizer: decodes.
        stop: texts that end the answer.
        skip_special_tokens: leave special tokens out.
        lead: what the template writes before every answer; taken off where it is found.
    """

    tokenizer: Any
    stop: tuple[str, ...] = ()
    skip_special_tokens: bool = True
    lead: str = ""
    _anchor: int = 0
    _read: int = 0
    _held: str = ""
    stopped: bool = field(default=False, init=False)

    def feed(self, ids: Sequence[int], *, last: bool) -> str:
        """What can be shown now of an answer whose tokens so far are `ids`; `last` gives out everything."""
        if self.stopped:
            return ""
        self._held += self._decoded(ids, last=last)
        if self.lead:
            if not last and self.lead.startswith(self._held):
                return ""
            self._held, self.lead = self._held.removeprefix(self.lead), ""
        cut = _first_stop(self._held, self.stop)
        if cut is not None:
            self.stopped = True
            text, self._held = self._held[:cut], ""
            return text
        keep = 0 if last else _may_begin(self._held, self.stop)
        size = len(self._held) - keep
        text, self._held = self._held[:size], self._held[size:]
        return text

    def _decoded(self, ids: Sequence[int], *, last: bool) -> str:
        # A token may be written otherwise at the start of a text, so each piece is decoded behind the one before.
        before = self._decode(ids[self._anchor : self._read])
        now = self._decode(ids[self._anchor :])
        if (now.endswith(UNFINISHED) and not last) or len(now) <= len(before):
            return ""
        self._anchor, self._read = self._read, len(ids)
        return now[len(before) :]

    def _decode(self, ids: Sequence[int]) -> str:
        if not ids:
            return ""
        return str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=self.skip_special_tokens, clean_up_tokenization_spaces=False
            )
        )


def _first_stop(text: str, stop: Sequence[str]) -> int | None:
    return min((place for word in stop if word and (place := text.find(word)) >= 0), default=None)


def _may_begin(text: str, stop: Sequence[str]) -> int:
    """Length of the longest end of `text` with which a stop text may begin."""
    longest = max((len(word) for word in stop), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        end = text[-size:]
        if any(word.startswith(end) for word in stop):
            return size
    return 0

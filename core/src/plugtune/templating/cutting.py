"""Cuts the token ids of a whole text at the bounds of its answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plugtune.data.records import RowError, TokenizedChat
from plugtune.templating.answers import Span


def cut_by_offsets(ids: Sequence[int], offsets: Sequence[tuple[int, int]], spans: Sequence[Span]) -> TokenizedChat:
    """With a fast tokenizer, which says where each token stands.

    Ids between spans are prompts, ids inside them answers; nothing is learnt behind the last one, so that is left out.
    """
    turns: list[tuple[list[int], list[int]]] = []
    position = 0
    for span in spans:
        first = position
        while first < len(ids) and offsets[first][0] < span.start:
            first += 1
        last = first
        while last < len(ids) and offsets[last][0] < span.end:
            last += 1
        turns.append((list(ids[position:first]), list(ids[first:last])))
        position = last
    return TokenizedChat(turns, [span.train for span in spans])


def cut_by_prefixes(encode: Callable[[str], list[int]], text: str, spans: Sequence[Span]) -> TokenizedChat | RowError:
    """With a slow tokenizer: where the ids of a prefix begin the ids of the whole text, its length is the cut."""
    ids = encode(text)
    cuts: list[int] = []
    for bound in (bound for span in spans for bound in (span.start, span.end)):
        prefix = encode(text[:bound])
        if ids[: len(prefix)] != prefix:
            return RowError(
                f"this slow tokenizer joins the text around {text[max(bound - 12, 0) : bound + 12]!r}, "
                "so that prompt and answer cannot be told apart", field="messages",
                fix="use the fast tokenizer (--use_fast_tokenizer true), or name a template with --template",
            )  # fmt: skip
        cuts.append(len(prefix))
    edges = [0, *cuts[1::2]]
    turns = [
        (ids[edge:first], ids[first:last]) for edge, first, last in zip(edges, cuts[::2], cuts[1::2], strict=False)
    ]
    return TokenizedChat(turns, [span.train for span in spans])

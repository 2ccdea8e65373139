"""The step loop: rows wait, are computed together one token at a time, and leave when they are done.

Knows token ids and settings, nothing of text, threads or conversations. A row's tokens do not depend on the other rows,
up to the rounding of matrix products of another shape (about 1e-6 of a logit in fp32).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from plugtune.inference.draw import draw
from plugtune.inference.guide import Guide
from plugtune.inference.lane import Lane, abilities
from plugtune.inference.sampling import Sampling

Finish = Literal["", "stop", "length", "cancelled"]


@dataclass(slots=True, eq=False)
class Row:
    """One answer in the making.

    Attributes:
        prompt: token ids before the answer.
        sampling: its settings.
        stop_ids: tokens that end it; they are not part of `ids`.
        adapter: name of the adapter that answers; empty for the model as it is loaded, `-` for the base without any.
        ids: tokens of the answer so far.
        logprobs, top: for each token its log-probability, and the likeliest tokens with theirs, if asked for.
        finish: empty while it goes on; may be set from outside to end it.
        guide: what the answer is held to.
    """

    prompt: list[int]
    sampling: Sampling
    stop_ids: frozenset[int] = frozenset()
    adapter: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top: list[list[tuple[int, float]]] = field(default_factory=list)
    finish: Finish = ""
    guide: Guide | None = None
    rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        seed = self.sampling.seed
        self.rng = random.Random(int(torch.randint(2**62, ()).item()) if seed is None else seed)

    def take(self, token: int) -> bool:
        """Add a token unless it ends the row; says whether it was added."""
        if token in self.stop_ids and not self.sampling.ignore_eos:
            self.finish = "stop"
            if self.sampling.logprobs is not None:
                self.logprobs.pop()
                self.top.pop()
            return False
        self.ids.append(token)
        if len(self.ids) >= self.sampling.max_new_tokens:
            self.finish = "length"
        return True


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is computed together.

    Attributes:
        rows: most rows at once.
        tokens: most cached positions at once, padding included (rows × longest row).
        prefill: most prompt tokens computed in one step, unless a single prompt is longer.
    """

    rows: int = 64
    tokens: int = 65536
    prefill: int = 4096


class Batch:
    """Rows of one model."""

    def __init__(self, model: Any, pad: int, limits: Limits | None = None) -> None:
        self.model, self.pad, self.limits = model, pad, limits or Limits()
        self.able = abilities(model)
        self.waiting: list[Row] = []
        self.lanes: list[Lane] = []

    def add(self, rows: Iterable[Row]) -> None:
        """Put rows in line."""
        self.waiting += rows

    @property
    def running(self) -> int:
        """Rows whose prompts are computed."""
        return sum(len(lane.rows) for lane in self.lanes)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.waiting or self.lanes)

    def step(self) -> list[Row]:
        """One token for every running row, and a first one for rows that are let in; returns the rows that advanced."""
        self.sweep()
        advanced: list[Row] = []
        # The lanes that run now go on; those let in have had their token from the prompt.
        for lane in self.lanes:
            with adapted(self.model, lane.rows[0].adapter):
                advanced += self._take(lane, lane.go_on())
        for group in self._let_in():
            lane = Lane(self.model, self.able, self.pad, group)
            with adapted(self.model, group[0].adapter):
                advanced += self._take(lane, lane.begin())
            self._place(lane)
        self.sweep()
        return advanced

    def sweep(self) -> None:
        """Let finished and cancelled rows go."""
        self.waiting = [row for row in self.waiting if not row.finish]
        for lane in self.lanes:
            lane.keep([place for place, row in enumerate(lane.rows) if not row.finish])
        self.lanes = [lane for lane in self.lanes if lane.rows]

    def _take(self, lane: Lane, logits: torch.Tensor) -> list[Row]:
        for row, token in zip(lane.rows, draw(logits, lane.rows), strict=True):
            row.take(token)
        return list(lane.rows)

    def _place(self, lane: Lane) -> None:
        lane.keep([place for place, row in enumerate(lane.rows) if not row.finish])
        if not lane.rows:
            return
        home = next((one for one in self.lanes if one.rows[0].adapter == lane.rows[0].adapter), None)
        if home is None or not self.able.joins:
            self.lanes.append(lane)
        else:
            home.join(lane)

    def _let_in(self) -> list[list[Row]]:
        """Groups of waiting rows that fit now, in order of arrival; a group shares an adapter."""
        let_in: list[Row] = []
        longest = max((lane.length + 1 for lane in self.lanes), default=0)
        for row in self.waiting:
            count = self.running + len(let_in) + 1
            reach = max(longest, len(row.prompt) + 1)
            prompts = max([len(row.prompt), *(len(other.prompt) for other in let_in)]) * (len(let_in) + 1)
            fits = count <= self.limits.rows and count * reach <= self.limits.tokens and prompts <= self.limits.prefill
            if not fits and (let_in or self.lanes):
                break
            let_in.append(row)
            longest = reach
        self.waiting = self.waiting[len(let_in) :]
        groups: dict[Any, list[Row]] = {}
        for row in let_in:
            groups.setdefault(row.adapter if self.able.joins else id(row), []).append(row)
        return list(groups.values())


def adapted(model: Any, name: str) -> AbstractContextManager[Any]:
    """The model as a row wants it: an adapter by name, the base alone (`-`), or as it is (empty)."""
    if name == "-":
        alone: AbstractContextManager[Any] = model.disable_adapter()
        return alone
    if name and model.active_adapter != name:
        model.set_adapter(name)
    return nullcontext()


def complete(batch: Batch, rows: list[Row]) -> list[Row]:
    """Run rows to their end."""
    batch.add(rows)
    while batch.busy:
        batch.step()
    return rows

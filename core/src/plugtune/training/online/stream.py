"""Experience, buffer by buffer: makes a buffer, hands out its rows in shuffled micro-batches several times, makes the
next. Its place, the rows of the buffer included, can be saved and restored, so a resumed run goes on in the middle of
a buffer with the same numbers. Knows nothing of models.

A row is a mapping of names to 1-D tensors on the CPU (`prompt_ids`, `answer_ids`, and what a stage adds).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from plugtune.training.checkpoint import write_whole

Row = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class BufferPlan:
    """Sizes of a process.

    Attributes:
        rows: rows of a buffer.
        micro: rows of a micro-batch; divides `rows`.
        passes: how often each row is trained on.
        seed: of the order of rows.
    """

    rows: int
    micro: int
    passes: int
    seed: int

    @property
    def batches(self) -> int:
        """Micro-batches that a buffer gives."""
        return self.passes * (self.rows // self.micro)


@dataclass
class ExperienceStream:
    """Endless micro-batches.

    Attributes:
        plan: the sizes.
        make: makes buffer number n (counted from 0): `plan.rows` rows.
        made: buffers made so far.
        given: micro-batches of the current buffer that were handed out.
        rows: the current buffer.
    """

    plan: BufferPlan
    make: Callable[[int], Sequence[Row]]
    collate: Callable[[Sequence[Row]], dict[str, object]]
    made: int = 0
    given: int = 0
    rows: list[Row] = field(default_factory=list)

    def __iter__(self) -> Iterator[dict[str, object]]:
        while True:
            if not self.rows or self.given == self.plan.batches:
                self.rows, self.given = list(self.make(self.made)), 0
                self.made += 1
            members = self._members(self.given)
            self.given += 1
            yield self.collate([self.rows[i] for i in members])

    def _members(self, number: int) -> list[int]:
        per_pass = self.plan.rows // self.plan.micro
        turn, place = divmod(number, per_pass)
        generator = torch.Generator().manual_seed(self.plan.seed + 1_000_003 * self.made + turn)
        order = torch.randperm(self.plan.rows, generator=generator).tolist()
        return [int(i) for i in order[place * self.plan.micro : (place + 1) * self.plan.micro]]

    def save(self, folder: Path, name: str) -> None:
        """Write `NAME.json` and `NAME.safetensors`."""
        save_file(_flat(self.rows), str(folder / f"{name}.safetensors"))
        write_whole(folder / f"{name}.json", json.dumps({"made": self.made, "given": self.given}).encode())

    def load(self, folder: Path, name: str) -> None:
        """Go on where `save` stood."""
        place = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        self.made, self.given = int(place["made"]), int(place["given"])
        self.rows = _rows(load_file(str(folder / f"{name}.safetensors")))


def _flat(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    """One tensor of all values and one of lengths for each name."""
    tensors = {}
    for name in rows[0] if rows else ():
        tensors[name] = torch.cat([row[name] for row in rows])
        tensors[f"{name}.lengths"] = torch.tensor([len(row[name]) for row in rows])
    return tensors


def _rows(tensors: dict[str, torch.Tensor]) -> list[Row]:
    names = [name for name in tensors if not name.endswith(".lengths")]
    parts = {name: tensors[name].split(tensors[f"{name}.lengths"].tolist()) for name in names}
    count = len(next(iter(parts.values()), ()))
    return [{name: parts[name][i].clone() for name in names} for i in range(count)]


def prompt_numbers(start: int, count: int, rows: int, seed: int, *, shuffle: bool) -> list[int]:
    """Row numbers of prompts `start`, `start + 1` … of an endless walk over `rows` rows, shuffled anew each epoch."""
    orders: dict[int, list[int]] = {}
    numbers = []
    for place in range(start, start + count):
        epoch, offset = divmod(place, rows)
        if epoch not in orders:
            generator = torch.Generator().manual_seed(seed + epoch)
            orders[epoch] = torch.randperm(rows, generator=generator).tolist() if shuffle else list(range(rows))
        numbers.append(orders[epoch][offset])
    return numbers

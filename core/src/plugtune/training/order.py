"""In which order rows are trained on, the same in every process, each row once an epoch.

Processes need equally many batches. The usual way repeats rows of the start of the epoch, which would weigh them twice;
here the last batches are filled with rows on which nothing is trained, so that N processes do exactly what one process
with N times the batch does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler


class Order(Sampler[int]):
    """Row numbers of an epoch.

    Numbers from `rows` on stand for rows on which nothing is trained; they come last and fill the epoch up to a
    multiple of `multiple`.

    Args:
        rows: how many rows there are.
        shuffle: whether each epoch has an order of its own, drawn from `seed` + epoch.
        multiple: rows of one step of all processes; 1 fills nothing.
    """

    def __init__(self, rows: int, *, shuffle: bool, seed: int, multiple: int = 1) -> None:
        self.rows, self.shuffle, self.seed, self.multiple = rows, shuffle, seed, multiple
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.rows // self.multiple) * self.multiple

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            generator = torch.Generator().manual_seed(self.seed + self.epoch)
            yield from torch.randperm(self.rows, generator=generator).tolist()
        else:
            yield from range(self.rows)
        yield from range(self.rows, len(self))
        self.epoch += 1


FILLER = "filler"
"""Column that marks a row which only fills an uneven end, for stages whose rows have no labels of their own."""


class FilledRows(Dataset[dict[str, Any]]):
    """Token rows; numbers past the last one give a row that trains nothing.

    Args:
        rows: the rows.
        blank: what the others are.
        multiple: the length is rounded up to it; 1 when the numbers past the end come from `Order`.
    """

    def __init__(self, rows: Any, blank: Mapping[str, Any], multiple: int = 1) -> None:
        self.rows, self.blank, self.multiple = rows, blank, multiple

    def __len__(self) -> int:
        return -(-len(self.rows) // self.multiple) * self.multiple

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(self.rows[index]) if index < len(self.rows) else dict(self.blank)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        return [self[index] for index in indices]


def row_labels(rows: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """`(rows,)` int64: 1 for a row, -100 for one that fills an uneven end."""
    return torch.tensor([-100 if row.get(FILLER) else 1 for row in rows])

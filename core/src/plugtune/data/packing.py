"""Joins short token rows into long ones whose parts never see each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from plugtune.options.groups import DataOptions


def first_fit_decreasing(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Indices of rows for each pack: longest first, each into the fullest pack that still has room for it.

    Best-fit decreasing over a table by remaining room; O(n log n + n · room) at worst, a few packs' scan in practice.
    """
    packs: list[list[int]] = []
    by_room: list[list[int]] = [[] for _ in range(room + 1)]
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        need = min(lengths[index], room)
        left = next((r for r in range(need, room + 1) if by_room[r]), None)
        if left is None:
            packs.append([index])
            by_room[room - need].append(len(packs) - 1)
        else:
            pack = by_room[left].pop()
            packs[pack].append(index)
            by_room[left - need].append(pack)
    return packs


def room_of(options: DataOptions) -> int:
    """Most tokens of a pack."""
    return options.packing_length or options.cutoff_len


def pack_columns(columns: Mapping[str, list[list[int]]], room: int) -> dict[str, list[list[int]]]:
    """Columns of rows to columns of packs: `input_ids`, `labels`, and `lengths` of the parts of each."""
    lengths = [len(ids) for ids in columns["input_ids"]]
    packs = first_fit_decreasing(lengths, room)
    joined = [_joined(columns, pack) for pack in packs]
    return {name: [pack[name] for pack in joined] for name in ("input_ids", "labels", "lengths")}


def _joined(columns: Mapping[str, Any], pack: Sequence[int]) -> dict[str, list[int]]:
    """One pack of rows of these columns."""
    joined = {name: list(chain.from_iterable(columns[name][i] for i in pack)) for name in ("input_ids", "labels")}
    return {**joined, "lengths": [len(columns["input_ids"][i]) for i in pack]}


class PackedRows(Sequence[dict[str, list[int]]]):
    """Packs of rows, joined when they are read: `input_ids`, `labels` and `lengths` of the parts.

    Args:
        rows: a `datasets.Dataset` of token rows; memory-mapped, and not copied.
        room: most tokens of a pack.
    """

    def __init__(self, rows: Any, room: int) -> None:
        self.rows = rows
        self.packs = first_fit_decreasing(_row_lengths(rows), room)

    def __len__(self) -> int:
        return len(self.packs)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        pack = self.packs[index]
        return _joined(self.rows[pack], range(len(pack)))


def _row_lengths(rows: Any) -> list[int]:
    """Lengths of rows, read column-wise without making lists of their tokens."""
    import pyarrow.compute as pc

    lengths: list[int] = []
    for batch in rows.with_format("arrow").select_columns(["input_ids"]).iter(10_000):
        lengths += pc.list_value_length(batch["input_ids"]).to_pylist()
    return lengths

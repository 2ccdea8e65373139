"""Joins short token rows into long ones whose parts never see each other."""

from __future__ import annotations

from collections.abc import Sequence


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


def pack_columns(rows: Sequence[dict[str, list[int]]], room: int) -> list[dict[str, list[int]]]:
    """Packed rows: `input_ids` and `labels` joined, `lengths` of the parts."""
    packs = first_fit_decreasing([len(row["input_ids"]) for row in rows], room)
    packed = []
    for members in packs:
        parts = [rows[i] for i in members]
        joined = {name: [x for part in parts for x in part[name]] for name in ("input_ids", "labels")}
        packed.append({**joined, "lengths": [len(part["input_ids"]) for part in parts]})
    return packed

"""Rows of a data set that lives on a hub. The hub's plugin brings the files; nothing of the repository is executed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from plugtune.capabilities import load_ref
from plugtune.data.records import RawRow
from plugtune.data.sources import READERS, read_rows
from plugtune.errors import DataError

if TYPE_CHECKING:
    from plugtune.data.registry import DatasetSpec


def hub_rows(spec: DatasetSpec) -> Iterator[RawRow]:
    """Rows of the repository's data files: those under `folder`, of `subset` and `split` when names tell them apart.

    Raises:
        RequestError: the hub cannot be reached or has no such repository.
        DataError: it holds no data files.
    """
    root = Path(load_ref(spec.fetch)(spec.hub_id, revision=None, token=None, cache_dir=None, kind="dataset"))
    folder = root / spec.folder if spec.folder else root
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in READERS and not p.name.startswith("."))
    for part in filter(None, (spec.subset, spec.split)):
        named = [p for p in files if part in str(p.relative_to(folder))]
        files = named or files
    files = [p for p in files if p.name not in ("README.txt", "dataset_infos.json", "dataset_info.json")]
    if not files:
        raise DataError(f"data set {spec.hub_id!r} holds no data files", where=spec.origin)
    for file in files:
        yield from read_rows(file)

"""The cache of prepared rows: where it is, what a data set's rows are known by, and how they get there whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plugtune.data.encoding import Encoder
from plugtune.data.registry import DatasetSpec
from plugtune.data.shards import shard_files
from plugtune.data.sources import files_of
from plugtune.options.groups import DataOptions
from plugtune.plugins.files import package_root, tree_hash

REPORT = "report.json"
PART = ".part-"
ABANDONED = 24 * 3600
"""Seconds after which an unfinished folder belongs to a run that was killed."""


def cache_folder() -> Path:
    """Where prepared rows are kept."""
    base = os.environ.get("PLUGTUNE_CACHE_DIR")
    if base:
        return Path(base) / "data"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plugtune" / "data"


def key_of(spec: DatasetSpec, options: DataOptions, encoder: Encoder, row_kind: str) -> str:
    """Changes whenever the rows would: contents of files, mapping, options, encoder, and code of the plugins."""
    digest = hashlib.sha256()
    files = files_of(spec.path) if spec.path is not None else []
    for file in files:
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    mapping, source = spec.mapping.key if spec.mapping else "", spec.source_key() if spec.source_key else ""
    parts = [
        4, row_kind, encoder.fingerprint, spec.format.name, spec.format.convert, sorted(spec.columns.items()),
        sorted(spec.tags.items()), spec.hub, spec.hub_id, spec.subset, spec.folder, spec.split, spec.num_samples,
        options.max_samples, options.max_bad_rows, options.preprocessing_batch_size,
        [file.name for file in files], _code(spec.format.convert), _code(type(encoder).__module__),
        mapping, source, [(step.plugin, step.code) for step in spec.filters],
    ]  # fmt: skip
    digest.update(json.dumps(parts, default=str).encode())
    return digest.hexdigest()[:40]


def _code(module: str) -> str:
    """Hash of a plugin's package. Core's own encoders say in their fingerprint when they change."""
    top = module.partition(":")[0].partition(".")[0]
    return "" if top == "plugtune" else tree_hash(package_root(top))


def stored(folder: Path) -> dict[str, Any] | None:
    """The report of rows that are there whole; `None` otherwise."""
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        return dict(report) if len(shard_files(folder)) == report["shards"] else None
    except (OSError, ValueError, KeyError):
        return None


def forget(folder: Path) -> None:
    """Remove prepared rows, and what an interrupted preparation of them has left."""
    for path in (folder, folder.with_name(f"{PART}{folder.name}")):
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder aside that takes the place of `folder` when the block ends without an error.

    One process at a time works in it; another one waits, and finds the rows there. What an interrupted block has left
    is still there when it is entered again.
    """
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    staging = folder.with_name(f"{PART}{folder.name}")
    with FileLock(f"{staging}.lock"):
        staging.mkdir(exist_ok=True)
        yield staging
        if stored(folder) is None:
            shutil.rmtree(folder, ignore_errors=True)  # what a damaged disk may have left
            staging.rename(folder)
        shutil.rmtree(staging, ignore_errors=True)


def _sweep(folder: Path) -> None:
    for entry in (entry for entry in folder.glob(f"{PART}*") if entry.is_dir()):
        try:
            abandoned = time.time() - entry.stat().st_mtime > ABANDONED
        except OSError:
            continue
        if abandoned:
            shutil.rmtree(entry, ignore_errors=True)

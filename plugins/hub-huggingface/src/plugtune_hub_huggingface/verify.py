"""Holds downloaded files against the hashes that the hub gives for them. The client itself only compares sizes.

The cache names each file by its ETag: 64 hex digits are the SHA-256 of a large file, 40 the SHA-1 that git gives a
small one (over `blob SIZE\\0` and the content).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

CHUNK = 1 << 20


def blobs(snapshot: Path) -> set[Path]:
    """The cached files behind a snapshot's links; none where the cache copies instead of linking."""
    return {path.resolve() for path in snapshot.rglob("*") if path.is_symlink() and path.is_file()}


def damaged(files: Iterable[Path]) -> list[Path]:
    """Those whose content is not what their name says, in order; names that are no hash say nothing."""
    return [file for file in sorted(files) if not _is_whole(file)]


def _is_whole(file: Path) -> bool:
    if re.fullmatch(r"[0-9a-f]{64}", file.name):
        digest = hashlib.sha256()
    elif re.fullmatch(r"[0-9a-f]{40}", file.name):
        digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    else:
        return True
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == file.name

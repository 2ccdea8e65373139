"""SHA-256 of a checkpoint's files: several at once, and in a run of many processes by the one that wrote them.

A checkpoint of hundreds of gigabytes would keep one process busy for minutes while all others wait. Files of one
process carry its number (`__3_0.distcp`, `zero_pp_rank_3_…`, `rng_state_3.pth`), so each is hashed where it was written
and where the system still holds it in memory.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

AT_ONCE = 8
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Digest:
    """What a process saw of a file: bytes, time of the last write (ns since 1970), and SHA-256 if it hashed it."""

    size: int
    written: int
    sha256: str = ""

    def of_same_file(self, other: Digest | None) -> bool:
        """Whether another process saw this very file, not one of the same name on a disk of its own."""
        return other is not None and (self.size, self.written) == (other.size, other.written)


def names_in(folder: Path) -> list[str]:
    """All files below a folder, relative to it, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def share(names: Sequence[str], rank: int, size: int) -> list[str]:
    """The files that process `rank` of `size` hashes; over all processes, each file once."""
    found = []
    for place, name in enumerate(names):
        numbers = NUMBER.findall(Path(name).stem)
        if (int(numbers[0]) if numbers else place) % size == rank:
            found.append(name)
    return found


def look(folder: Path, names: Iterable[str], hashed: Iterable[str] = (), settle: bool = False) -> dict[str, Digest]:
    """What is seen of `names` in a folder, with the SHA-256 of those in `hashed`.

    Args:
        folder: the checkpoint.
        names: files in it.
        hashed: those of them that are read.
        settle: whether these are on disk afterwards (fsync).

    Raises:
        OSError: a file cannot be read.
    """
    wanted = set(hashed)

    def one(name: str) -> Digest:
        path = folder / name
        if name not in wanted:
            stat = path.stat()
            return Digest(stat.st_size, stat.st_mtime_ns)
        with path.open("rb") as file:
            if settle:
                os.fsync(file.fileno())
            stat = os.fstat(file.fileno())
            return Digest(stat.st_size, stat.st_mtime_ns, hashlib.file_digest(file, "sha256").hexdigest())

    names = list(names)
    with ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1)) as threads:
        return dict(zip(names, threads.map(one, names), strict=True))

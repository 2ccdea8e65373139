"""What one process of a run knows of the others: its number, how to wait for the first, and who speaks for all.

Ranks meet in torch's key-value store before any collective exists, so that they can wait for hours while rows are
prepared without a timeout, compare their plugins and options, and agree on who tells an error. A run of one process is
a world of one; nothing is imported for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from plugtune.errors import PlugtuneError, RequestError, RunError

FOREVER = timedelta(days=30)
REQUEST = "PLUGTUNE_REQUEST"
"""Environment variable in which workers find the options their parent read; set by `training.launch` alone."""
LOST = ("Connection closed by peer", "Connection reset by peer", "gloo", "NCCL", "Broken pipe", "TCPStore")
"""Words of errors that mean: another process went away."""


class LostPartner(RunError):
    """Another process went away; the launcher, which sees all of its machine, knows better why."""

    exit_code = 71


@dataclass(frozen=True, slots=True)
class World:
    """The processes of a run, seen from one of them.

    Attributes:
        rank, size: number of this process (from 0), and of all.
        local_rank, local_size: the same on this machine.
        restarts: how often the workers were started again after a failure.
        store: where the ranks meet; `None` in a world of one.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    restarts: int = 0
    store: Any = None

    @staticmethod
    def join(environ: Mapping[str, str] = os.environ) -> World:
        """The world that the launcher described in the environment.

        Raises:
            RunError: the other processes cannot be reached.
        """
        size = int(environ.get("WORLD_SIZE", "1") or 1)
        if size <= 1 or "RANK" not in environ:
            return World(restarts=int(environ.get("TORCHELASTIC_RESTART_COUNT", "0")))
        from torch.distributed import rendezvous

        rank = int(environ["RANK"])
        try:
            store = next(iter(rendezvous("env://", timeout=timedelta(minutes=15))))[0]
        except (OSError, RuntimeError, ValueError) as error:
            raise RunError(
                f"process {rank} of {size} cannot reach the others", why=str(error).split("\n")[0],
                where=f"{environ.get('MASTER_ADDR')}:{environ.get('MASTER_PORT')}",
                fix="start all of them at once, with the same MASTER_ADDR and MASTER_PORT",
            ) from error  # fmt: skip
        local_rank = int(environ.get("LOCAL_RANK", rank))
        local_size = int(environ.get("LOCAL_WORLD_SIZE", size))
        return World(rank, size, local_rank, local_size, int(environ.get("TORCHELASTIC_RESTART_COUNT", "0")), store)

    @property
    def main(self) -> bool:
        """Whether this process prints and writes for all."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """Machines that take part."""
        return max(self.size // max(self.local_size, 1), 1)

    @contextmanager
    def local_first(self, what: str) -> Iterator[None]:
        """The first process of each machine runs the block before the others of that machine do.

        No shared file system is assumed, and nobody's patience runs out: a failure of the first ends its machine's
        processes through the launcher.
        """
        if self.store is None:
            yield
            return
        key = f"plugtune/{what}/{self.rank - self.local_rank}"
        if self.local_rank > 0:
            self.store.wait([key], FOREVER)
            yield
            return
        yield
        self.store.set(key, "done")

    def share(self, what: str, make: Callable[[], Any]) -> Any:
        """What `make` gives in the first process, in all of them. The value must have a JSON form."""
        if self.store is None:
            return make()
        key = f"plugtune/{what}"
        if self.main:
            value = make()
            self.store.set(key, json.dumps(value))
            return value
        self.store.wait([key], FOREVER)
        return json.loads(self.store.get(key))

    def must_agree(self, what: str, mine: Mapping[str, Any]) -> None:
        """Hold this process to what the first one has.

        Raises:
            RequestError: values differ; names each.
        """
        theirs = self.share(what, lambda: json.loads(json.dumps(mine, default=str)))
        ours = json.loads(json.dumps(mine, default=str))
        differing = sorted(name for name in {*theirs, *ours} if theirs.get(name) != ours.get(name))
        if differing:
            listed = "; ".join(f"{n}: {theirs.get(n)} in process 0, {ours.get(n)} here" for n in differing[:3])
            raise RequestError(
                f"process {self.rank} has other {what} than process 0", why=listed,
                fix="use the same plugins, files and flags on every machine",
            )  # fmt: skip

    def first_to_fail(self) -> bool:
        """Whether this process is the first that tells an error; the others keep quiet."""
        if self.store is None:
            return True
        try:
            return int(self.store.add("plugtune/failed", 1)) == 1
        except (OSError, RuntimeError):  # the store went down with the process that has failed first
            return False

    def failed(self) -> bool:
        """Whether some process has told an error."""
        if self.store is None:
            return False
        try:
            return bool(self.store.check(["plugtune/failed"]))
        except (OSError, RuntimeError):
            return True

    @contextmanager
    def one_voice(self) -> Iterator[None]:
        """An error that ends several processes is told by the first of them only."""
        try:
            yield
        except Exception as error:
            if self.store is None:
                raise
            told = _of_others(error) if not isinstance(error, PlugtuneError) else error
            launcher_tells = isinstance(told, LostPartner) and REQUEST in os.environ
            told.plugtune_quiet = launcher_tells or not self.first_to_fail()  # type: ignore[attr-defined]
            if told is error:
                raise
            raise told from error


def _of_others(error: Exception) -> Exception:
    """The same error, or what it means when a collective operation lost its partner."""
    text = str(error)
    if not isinstance(error, RuntimeError) or not any(word in text for word in LOST):
        return error
    return LostPartner(
        "another process of this run went away", why=text.strip().split("\n")[0][:200],
        fix="look for its own message above, or in the system's log when memory ran out; then go on with "
        "--resume_from_checkpoint true",
    )  # fmt: skip


def is_main(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this process speaks for the run; cheap and known before the processes have met."""
    return environ.get("RANK", "0") in ("", "0")

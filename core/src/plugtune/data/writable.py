"""The door for formats that can also be written: what a plugin returns, and what its writer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from plugtune.capabilities import DatasetFormat, Ref
from plugtune.data.records import Record


@dataclass(frozen=True, kw_only=True)
class WritableFormat(DatasetFormat):
    """A `DatasetFormat` that `plugtune data convert --to` can write.

    Attributes:
        write: `make_writer(*, kind) -> RowWriter` for records of that kind; raises `RowError` when the format holds
            none of it.
    """

    write: Ref


@dataclass(frozen=True, slots=True)
class RowWriter:
    """Turns records into rows.

    Attributes:
        row: the row of a record; raises `RowError` (field and reason) for what the format cannot hold. What it misses
            is found all the same: every row is read back and compared with its record.
        columns: column role → column name, as the registry entry of the file must say it; roles that the format's
            defaults name already may be left out.
    """

    row: Callable[[Record], dict[str, Any]]
    columns: Mapping[str, str] = field(default_factory=dict)

"""Which options of OFT do not go together. Cheap: called before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune import Problem


def checks(values: Mapping[str, Any]) -> list[Problem]:
    """One of block size and number of blocks decides the other."""
    if bool(values["oft_rank"]) != bool(values["oft_block_size"]):
        return []
    return [Problem("oft_rank and oft_block_size decide each other", where="oft_block_size",
                    fix="set one of them and the other to 0")]  # fmt: skip

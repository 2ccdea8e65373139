"""Writes an entry into a folder's dataset_info.json, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugtune.data.registry import INFO
from plugtune.errors import DataError
from plugtune.training.checkpoint import write_whole


def register(folder: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Add or replace an entry.

    Raises:
        DataError: the registry that is there cannot be read; it is left as it is.
    """
    file = folder / INFO
    entries: dict[str, Any] = {}
    if file.is_file():
        try:
            entries = json.loads(file.read_text(encoding="utf-8-sig"))
        except ValueError as error:
            raise DataError(f"registry {file} is broken and was left as it is", why=str(error)) from error
    entries[name] = dict(entry)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(file, (json.dumps(entries, ensure_ascii=False, indent=2) + "\n").encode("utf-8"))

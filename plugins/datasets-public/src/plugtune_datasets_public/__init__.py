"""Names of public data sets on hubs. No data, only where it is and how its rows are read; imports nothing heavy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import plugtune

FILE = Path(__file__).parent / "datasets.json"


@plugtune.hookimpl
def plugtune_datasets() -> list[plugtune.DatasetEntry]:
    """The entries of `datasets.json`, which has the form of a dataset_info.json."""
    entries = json.loads(FILE.read_text(encoding="utf-8"))
    return [plugtune.DatasetEntry(name=name, summary=_summary(info), info=info) for name, info in entries.items()]


def _summary(info: dict[str, Any]) -> str:
    """What the rows are for, and where they are."""
    columns = info.get("columns") or {}
    if info.get("ranking"):
        rows = "preference pairs"
    elif "kto_tag" in columns:
        rows = "rated answers"
    elif set(columns) == {"prompt"}:
        rows = "documents"
    else:
        rows = "conversations" if info.get("formatting") == "sharegpt" else "instructions"
    part = f", {info['subset']}" if info.get("subset") else ""
    return f"{rows}: {info.get('hf_hub_url') or info['ms_hub_url']}{part}"

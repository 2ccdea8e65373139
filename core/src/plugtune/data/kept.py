"""Token rows kept in a folder of the user's choice (`tokenized_path`): local, or in any file system of fsspec."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from plugtune.data.report import DataReport

if TYPE_CHECKING:
    from plugtune.data.pipeline import Prepared

MARKER = "plugtune.json"
"""Written last: its presence says that the rows are whole."""


def is_kept(path: str) -> bool:
    """Whether a folder holds kept rows."""
    files, root = _opened(path)
    return bool(files.isfile(f"{root}/{MARKER}"))


def keep(prepared: Prepared, path: str) -> None:
    """Write the rows and the report of a preparation: Arrow shards that any number of machines can read."""
    from datasets import Dataset, DatasetDict

    parts = {"train": prepared.train} if prepared.train is not None else {}
    if isinstance(prepared.evaluation, Dataset):
        parts["validation"] = prepared.evaluation
    elif prepared.evaluation:
        parts.update({f"validation_{name}": rows for name, rows in prepared.evaluation.items()})
    DatasetDict(parts).save_to_disk(path)
    files, root = _opened(path)
    with files.open(f"{root}/{MARKER}", "w", encoding="utf-8") as file:
        json.dump(prepared.report.as_json(), file, ensure_ascii=False)


def load_kept(path: str) -> tuple[Any, Any, DataReport]:
    """(training rows, evaluation rows, report) of kept rows."""
    from datasets import load_from_disk

    parts = load_from_disk(path)
    files, root = _opened(path)
    with files.open(f"{root}/{MARKER}", encoding="utf-8") as file:
        sets = json.load(file)["sets"]
    several = {n.removeprefix("validation_"): rows for n, rows in parts.items() if n.startswith("validation_")}
    report = DataReport([{**entry, "cached": True} for entry in sets])
    return parts.get("train"), several or parts.get("validation"), report


def _opened(path: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    files, root = url_to_fs(path)
    return files, root.rstrip("/")

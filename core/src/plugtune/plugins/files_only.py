"""A plugin without Python: a package that holds files only, whose templates and data sets core reads itself.

Its entry point names the package as any other does. What counts is `templates/*.yaml` and `dataset_info.json` in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from plugtune.capabilities import ChatTemplate, DatasetEntry

hookimpl = pluggy.HookimplMarker("plugtune")


def files_plugin(module: ModuleType | Any) -> FilesOnly | None:
    """The plugin of a package without code; `None` when the module has code (or is no package)."""
    if not isinstance(module, ModuleType) or getattr(module, "__file__", None) or not hasattr(module, "__path__"):
        return None
    return FilesOnly(module.__name__, [Path(folder) for folder in module.__path__])


class FilesOnly:
    """The templates and data sets that lie in a package's folders."""

    def __init__(self, name: str, folders: list[Path]) -> None:
        self.__name__ = name
        self._folders = folders

    @hookimpl
    def plugtune_templates(self) -> list[ChatTemplate]:
        """Every `templates/*.yaml`.

        Raises:
            TypeError: the package holds nothing that core reads.
        """
        from plugtune.templating.load import load_templates

        if not any((f / "templates").is_dir() or (f / "dataset_info.json").is_file() for f in self._folders):
            raise TypeError(
                f"package {self.__name__} has no __init__.py, no templates/*.yaml and no dataset_info.json: it is empty"
            )
        return [template for folder in self._folders for template in load_templates(folder / "templates")]

    @hookimpl
    def plugtune_datasets(self) -> list[DatasetEntry]:
        """Every entry of `dataset_info.json`; its paths start in the package."""
        entries = []
        for folder in self._folders:
            file = folder / "dataset_info.json"
            if file.is_file():
                for name, info in json.loads(file.read_text(encoding="utf-8")).items():
                    summary = str(info.get("summary", "")) if isinstance(info, dict) else ""
                    kept = {key: value for key, value in dict(info).items() if key != "summary"}
                    entries.append(DatasetEntry(name=name, summary=summary, info=kept, root=str(folder)))
        return entries

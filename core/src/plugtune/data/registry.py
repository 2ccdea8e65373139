"""Named data sets: `dataset_info.json` files, plugins' entries, and paths given straight on the command line.

Resolves a name to a `DatasetSpec`: where the rows are and how their columns are called. Reads no rows, except the first
few of a file whose format nobody named.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from plugtune.capabilities import DatasetFormat, Ref, load_ref
from plugtune.catalog import Catalog
from plugtune.data.mapping import RowMapping
from plugtune.data.mapping_reader import read_mapping
from plugtune.data.records import RawRow, RowError, RowLeftOut
from plugtune.data.row_sources import is_address, source_key, source_of, source_rows
from plugtune.data.sources import READERS, files_of
from plugtune.errors import DataError, did_you_mean
from plugtune.hubs import hub_of_dataset

INFO = "dataset_info.json"
SOURCES = ("hf_hub_url", "ms_hub_url", "script_url", "file_name", "source")
KEYS = (*SOURCES, "file_sha1", "subset", "folder", "split", "num_samples", "ranking", "formatting", "columns", "tags",
        "mapping", "source_options")  # fmt: skip
COLUMNS = (
    "prompt",
    "query",
    "response",
    "history",
    "messages",
    "system",
    "tools",
    "chosen",
    "rejected",
    "kto_tag",
    "text",
)
TAGS = ("role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag")


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A data set ready to be read.

    Attributes:
        name: as the user wrote it.
        format: the format that reads its rows.
        columns, tags: the names in force, the format's defaults overridden by the entry.
        path: local file or folder, or `None` when it comes from a hub.
        hub, hub_id: hub name and id otherwise.
        fetch: the hub plugin's resolver.
        origin: where the entry stands, for messages.
        mapping: what is done to its rows before the format reads them.
        source, source_key: rows of a plugin's source, and what changes when they do.
        filters: what plugins do to its records.
    """

    name: str
    format: DatasetFormat
    columns: Mapping[str, str | None]
    tags: Mapping[str, str]
    path: Path | None = None
    hub: str = ""
    hub_id: str = ""
    fetch: Ref = ""
    subset: str | None = None
    folder: str | None = None
    split: str = "train"
    num_samples: int | None = None
    ranking: bool = False
    origin: str = ""
    mapping: RowMapping | None = None
    source: Callable[[], Iterator[RawRow]] | None = None
    source_key: Callable[[], str] | None = None
    filters: tuple[Any, ...] = ()


@dataclass(slots=True)
class Registry:
    """All entries by name, with the folder and file that each comes from."""

    catalog: Catalog
    entries: dict[str, tuple[Mapping[str, Any], Path, str]] = field(default_factory=dict)
    searched: list[str] = field(default_factory=list)
    allow_scripts: bool = False
    hub: str | None = None

    @classmethod
    def open(
        cls, catalog: Catalog, dataset_dir: str, extra: Sequence[str] = (), *, allow_scripts: bool = False,
        hub: str | None = None,
    ) -> Registry:  # fmt: skip
        """Read the registry of a data folder and further ones, and the entries of plugins.

        Raises:
            DataError: a registry is broken, or two of them hold the same name.
        """
        registry = cls(catalog, allow_scripts=allow_scripts, hub=hub)
        files = [Path(dataset_dir) / INFO, *(_info_file(Path(e)) for e in extra)]
        for number, file in enumerate(files):
            registry.searched.append(str(file))
            if file.is_file():
                registry._add_file(file)
            elif number > 0:
                raise DataError(f"registry {file} does not exist", where="dataset_info")
        for entry in catalog.all("dataset"):
            # What a user registered under a name of their own choice wins over what a plugin knows by that name.
            if entry.name not in registry.entries:
                registry._add(entry.name, entry.info, Path(entry.root), f"plugin entry {entry.name}")
        return registry

    def _add_file(self, file: Path) -> None:
        try:
            values = json.loads(file.read_text(encoding="utf-8-sig"))
        except json.JSONDecodeError as error:
            raise DataError(
                f"broken JSON: {error.msg}", where=f"{file}, line {error.lineno}, column {error.colno}"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"registry {file} cannot be read", why=str(error)) from error
        if not isinstance(values, dict):
            raise DataError("a registry is a JSON object: name → entry", where=str(file))
        for name, info in values.items():
            if name.startswith("_") and not isinstance(info, dict):
                continue  # a comment
            self._add(name, info, file.parent, str(file))

    def _add(self, name: str, info: Any, root: Path, origin: str) -> None:
        if name in self.entries:
            raise DataError(
                f"data set {name!r} stands in two registries: {self.entries[name][2]} and {origin}", fix="rename one"
            )
        self.entries[name] = (info, root, origin)

    def resolve(self, name: str, *, checked: bool = True) -> DatasetSpec:
        """The data set of that name or path.

        Raises:
            DataError: there is none, its entry is wrong, or its file is missing or changed.
        """
        if name in self.entries:
            info, root, origin = self.entries[name]
            return self._from_entry(name, info, root, f"{origin}, entry {name!r}", checked)
        path = Path(name)
        if path.exists() or path.suffix in READERS:
            return self._from_path(name, path)
        if is_address(name):
            return self._recognised(name, DatasetSpec(name, NO_FORMAT, {}, {}, **self._source(name, {}, name)))
        near = did_you_mean(name, self.entries)
        known = ", ".join(sorted(self.entries)) or "none"
        raise DataError(
            f"unknown data set {name!r}", where=" and ".join(self.searched), fix=near or f"registered: {known[:300]}"
        )

    def _from_entry(self, name: str, info: Any, root: Path, where: str, checked: bool) -> DatasetSpec:
        if not isinstance(info, dict):
            raise DataError("an entry is a JSON object", where=where)
        _check_keys(info, KEYS, where)
        mapping = read_mapping(info["mapping"], root, f"{where}, mapping") if info.get("mapping") else None
        if mapping is not None and "formatting" not in info:
            guess = DatasetSpec(name, NO_FORMAT, {}, {}, mapping=mapping, **self._place(info, root, where, checked))
            found = self._recognised(name, guess)
            info = {
                **info,
                "formatting": found.format.name,
                "columns": {**found.columns, **(info.get("columns") or {})},
            }
        fmt = self.catalog.get("format", str(info.get("formatting", "alpaca")))
        _check_keys(info.get("columns") or {}, (*fmt.columns, *COLUMNS), f"{where}, columns")
        _check_keys(info.get("tags") or {}, (*fmt.tags, *TAGS), f"{where}, tags")
        columns = {**fmt.columns, **(info.get("columns") or {})}
        tags = {**fmt.tags, **(info.get("tags") or {})}
        common: dict[str, Any] = {
            "name": name, "format": fmt, "columns": columns, "tags": tags, "subset": info.get("subset"),
            "folder": info.get("folder"), "split": info.get("split", "train"), "num_samples": info.get("num_samples"),
            "ranking": bool(info.get("ranking", False)), "origin": where, "mapping": mapping,
            "filters": self.catalog.filters,
        }  # fmt: skip
        return DatasetSpec(**common, **self._place(info, root, where, checked))

    def _place(self, info: Mapping[str, Any], root: Path, where: str, checked: bool) -> dict[str, Any]:
        """Where the rows of an entry are, as fields of its spec."""
        on_hub = hub_of_dataset(info, self.catalog, self.hub)
        if on_hub is not None:
            hub, hub_id = on_hub
            return {"hub": hub.name, "hub_id": hub_id, "fetch": hub.resolve}
        if info.get("source"):
            return self._source(str(info["source"]), info.get("source_options") or {}, where)
        if info.get("script_url"):
            if not self.allow_scripts:
                raise DataError(
                    "the data set is loaded by a script", where=where, why="a script runs code of its author",
                    fix="read the script, then add --allow_dataset_scripts true",
                )  # fmt: skip
            raise DataError(
                "the data set is loaded by a script, which today's datasets library no longer runs", where=where,
                fix="run the script yourself, save its rows as JSON lines, and register that file",
            )  # fmt: skip
        if not info.get("file_name"):
            raise DataError("the entry names no source", where=where, fix=f"give one of {', '.join(SOURCES)}")
        path = root / info["file_name"]
        if checked:
            files_of(path)
            _verify_sha1(path, info.get("file_sha1"), where)
        return {"path": path}

    def _source(self, address: str, options: Any, where: str) -> dict[str, Any]:
        if not isinstance(options, dict):
            raise DataError("source_options is an object", where=where)
        source, catalog = source_of(address, self.catalog, where), self.catalog
        return {
            "source": lambda: source_rows(source, address, options, catalog),
            "source_key": lambda: source_key(source, address, options, catalog),
        }

    def _from_path(self, name: str, path: Path) -> DatasetSpec:
        files_of(path)
        return self._recognised(name, DatasetSpec(name, NO_FORMAT, {}, {}, path=path))

    def _recognised(self, name: str, spec: DatasetSpec) -> DatasetSpec:
        """The data set with the format that is surest of its first rows, as its mapping leaves them."""
        from plugtune.data.pipeline import raw_rows

        seen = (_mapped(row.values, spec.mapping) for row in islice(raw_rows(spec), 20))
        rows = [row for row in seen if row is not None]
        claims = []
        for fmt in self.catalog.all("format"):
            claim = load_ref(fmt.recognise)(rows) if fmt.recognise else None
            if claim is not None:
                claims.append((claim.confidence, fmt, claim))
        if not claims:
            columns = sorted({key for row in rows for key in row})
            raise DataError(
                f"no installed format recognises {name}", why=f"its columns are {', '.join(columns)}",
                fix="register it with `plugtune data add`, naming the columns",
            )  # fmt: skip
        _, fmt, claim = max(claims, key=lambda c: (c[0], c[1].name))
        return dataclasses.replace(
            spec, format=fmt, columns={**fmt.columns, **claim.columns}, tags={**fmt.tags, **claim.tags},
            ranking=claim.ranking, origin=f"{name}, recognised as {fmt.name}", filters=self.catalog.filters,
        )  # fmt: skip


NO_FORMAT = DatasetFormat(name="(none yet)", convert="")
"""Stands in a spec until its format is recognised."""


def _mapped(row: Mapping[str, Any], mapping: RowMapping | None) -> Mapping[str, Any] | None:
    """A row as a format will see it; `None` when it will not see it."""
    try:
        return row if mapping is None else mapping(row)
    except (RowError, RowLeftOut):
        return None


def _info_file(path: Path) -> Path:
    return path / INFO if path.is_dir() else path


def _check_keys(values: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(values, dict):
        raise DataError("expected a JSON object", where=where)
    for key in values:
        if key not in known:
            raise DataError(
                f"unknown key {key!r}", where=where, fix=did_you_mean(key, known) or f"known: {', '.join(known)}"
            )


def _verify_sha1(path: Path, expected: str | None, where: str) -> None:
    if not expected or not path.is_file():
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha1").hexdigest()
    if found != expected.lower():
        raise DataError(
            f"{path} is not the file that was registered", where=where, why=f"its SHA-1 is {found}, not {expected}",
            fix="fetch the file again, or mend file_sha1",
        )  # fmt: skip

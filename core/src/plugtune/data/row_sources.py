"""Rows from where plugins say they are: data bases, services, file types of their own; opened lazily, read as a stream.

A source claims URL schemes; `sqlite:///calls.db` is read by the plugin that claims `sqlite`. Secrets stand in
addresses as `${secret:NAME}` and are put in only when the source is opened.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from plugtune.capabilities import DataSource, load_ref
from plugtune.catalog import Catalog
from plugtune.data.records import RawRow, Where
from plugtune.errors import DataError, did_you_mean


def is_address(name: str) -> bool:
    """Whether a data set's name is an address and no file."""
    return re.match(r"[a-z][a-z0-9+.-]*://", name) is not None


def source_of(address: str, catalog: Catalog, where: str) -> DataSource:
    """The source that claims an address.

    Raises:
        DataError: no installed plugin does, or two do.
    """
    scheme = address.partition("://")[0].partition("+")[0]
    sources: list[DataSource] = catalog.all("source")
    found = [source for source in sources if scheme in source.schemes]
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(catalog.entry("source", source.name).plugin for source in found)
        raise DataError(f"scheme {scheme!r} is claimed by plugins {names}", where=where, fix="deny or uninstall one")
    schemes = sorted({s for source in sources for s in source.schemes})
    fix = did_you_mean(scheme, schemes) or f"installed sources read: {', '.join(schemes) or 'none'}"
    raise DataError(f"no installed plugin reads addresses of scheme {scheme!r}", where=where, fix=fix)


def source_rows(source: DataSource, address: str, options: Mapping[str, Any], catalog: Catalog) -> Iterator[RawRow]:
    """Rows of a source, each with its number.

    Raises:
        DataError: it is empty, or gives something that is no row.
    """
    shown, count = shown_address(address), 0
    open_rows = load_ref(source.rows)
    revealed = {name: catalog.reveal(value) for name, value in options.items()}
    for count, values in enumerate(open_rows(catalog.reveal(address), revealed), 1):
        if not isinstance(values, Mapping):
            raise DataError(
                f"source {source.name} gave {type(values).__name__} instead of a row with named fields",
                where=f"{shown}, row {count}",
            )  # fmt: skip
        yield RawRow(values, Where(shown, count))
    if count == 0:
        raise DataError(f"{shown} holds no rows")


def source_key(source: DataSource, address: str, options: Mapping[str, Any], catalog: Catalog) -> str:
    """Changes when the rows do: what the plugin's `fingerprint` says, else a digest over all rows."""
    if source.fingerprint:
        revealed = {name: catalog.reveal(value) for name, value in options.items()}
        return str(load_ref(source.fingerprint)(catalog.reveal(address), revealed))
    digest = hashlib.sha256()
    for raw in source_rows(source, address, options, catalog):
        digest.update(json.dumps(dict(raw.values), default=str, sort_keys=True).encode())
    return digest.hexdigest()


def shown_address(address: str) -> str:
    """An address without its password, for messages and reports."""
    return re.sub(r"://([^:/@]*):[^@/]*@", r"://\1:***@", address)

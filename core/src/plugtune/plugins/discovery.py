"""Finds installed plugins by their entry points, without importing any of them.

A plugin is an entry point in group `plugtune`; an entry point of the same name in group `plugtune.api` says for which
plugin API it was written (`v1_0`; 1.0 when it says nothing).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

GROUP = "plugtune"
API_GROUP = "plugtune.api"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An installed plugin as its metadata describes it; `broken` says why the metadata cannot be used."""

    name: str
    distribution: str
    version: str
    module: str
    summary: str = ""
    api: str = "v1_0"
    requires: tuple[str, ...] = ()
    broken: str = ""


def discover() -> list[Candidate]:
    """All installed plugins, sorted by name: the order in which they load, on every machine alike."""
    import importlib_metadata

    found: list[Candidate] = []
    seen: set[str] = set()
    for dist in importlib_metadata.distributions():
        try:
            # Most distributions are no plugins: their files are not parsed.
            if "[plugtune" not in (dist.read_text("entry_points.txt") or ""):
                continue
        except (OSError, UnicodeDecodeError):
            continue
        candidates = list(_plugins_of(dist))
        # The first on sys.path wins, as it does for imports.
        if not candidates or (key := normalized(candidates[0].distribution)) in seen:
            continue
        seen.add(key)
        found += candidates
    return sorted(found, key=lambda candidate: (candidate.name, candidate.distribution))


def _plugins_of(dist: Any) -> Iterator[Candidate]:
    """The plugins of a distribution; one broken candidate when its metadata cannot be read."""
    try:
        headers = _headers(dist.read_text("METADATA") or dist.read_text("PKG-INFO") or "")
        distribution, version = headers["name"][0], headers["version"][0]
        points = list(dist.entry_points)
    except (OSError, KeyError, ValueError) as error:
        name = str(getattr(dist, "_path", "unknown")).rpartition("/")[2]
        yield Candidate(name, name, "?", "", broken=f"its metadata cannot be read ({type(error).__name__}: {error})")
        return
    apis = {point.name: point.value for point in points if point.group == API_GROUP}
    summary, requires = headers.get("summary", [""])[0], tuple(headers.get("requires-dist", ()))
    for point in points:
        if point.group == GROUP:
            api = apis.get(point.name, "v1_0")
            yield Candidate(point.name, distribution, version, point.value, summary, api, requires)


def _headers(text: str) -> dict[str, list[str]]:
    """Name → values of a metadata file's head; folded lines belong to fields that are not needed here."""
    headers: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line:
            break
        name, separator, value = line.partition(":")
        if separator and not name[:1].isspace():
            headers.setdefault(name.lower(), []).append(value.strip())
    return headers


def normalized(distribution: str) -> str:
    """A distribution name as installers compare it."""
    return distribution.lower().replace("_", "-").replace(".", "-")

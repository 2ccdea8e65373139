"""Finds installed plugins by their entry points, without importing any of them.

A plugin is an entry point in group `plugtune`; an entry point of the same name in group `plugtune.api` says for which
plugin API it was written (`v1_0`; 1.0 when it says nothing).
"""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "plugtune"
API_GROUP = "plugtune.api"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An installed plugin as its metadata describes it."""

    name: str
    distribution: str
    version: str
    module: str
    summary: str = ""
    api: str = "v1_0"
    requires: tuple[str, ...] = ()


def discover() -> list[Candidate]:
    """All installed plugins, sorted by name: the order in which they load, on every machine alike."""
    import importlib_metadata

    found: list[Candidate] = []
    seen: set[str] = set()
    for dist in importlib_metadata.distributions():
        points = dist.entry_points
        if not points.select(group=GROUP):
            continue
        meta = dist.metadata
        distribution = str(meta["Name"] or "unknown")
        # The first on sys.path wins, as it does for imports.
        if (key := normalized(distribution)) in seen:
            continue
        seen.add(key)
        apis = {point.name: point.value for point in points.select(group=API_GROUP)}
        summary = meta.get("Summary", "") or ""
        requires = tuple(dist.requires or ())
        for point in points.select(group=GROUP):
            api = apis.get(point.name, "v1_0")
            found.append(Candidate(point.name, distribution, dist.version, point.value, summary, api, requires))
    return sorted(found, key=lambda candidate: (candidate.name, candidate.distribution))


def normalized(distribution: str) -> str:
    """A distribution name as installers compare it."""
    return distribution.lower().replace("_", "-").replace(".", "-")

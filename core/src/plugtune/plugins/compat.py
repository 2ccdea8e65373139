"""Checks a plugin against this core and the installed packages from its metadata alone, before anything is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable

from plugtune.hookspecs import API_VERSION
from plugtune.plugins.discovery import Candidate


class Versions:
    """Installed versions, each looked up once."""

    def __init__(self) -> None:
        import plugtune

        # The running core is the one plugins meet, whatever the metadata of an installed copy says.
        self._known: dict[str, str | None] = {"plugtune": plugtune.__version__}

    def get(self, distribution: str) -> str | None:
        """The version of a distribution, `None` when it is not installed."""
        if distribution not in self._known:
            import importlib_metadata

            try:
                self._known[distribution] = importlib_metadata.version(distribution)
            except importlib_metadata.PackageNotFoundError:
                self._known[distribution] = None
        return self._known[distribution]


def incompatibility(candidate: Candidate, versions: Versions | None = None) -> str:
    """Why a plugin cannot run with this core and these packages; an empty string when it can."""
    return api_problem(candidate.api) or next(iter(requirement_problems(candidate.requires, versions)), "")


def api_problem(api: str) -> str:
    """Why a plugin of this API version does not fit; an empty string when it does."""
    match = re.fullmatch(r"v(\d+)(?:_(\d+))?", api)
    if match is None:
        return f"it declares plugin API {api!r}, which is not of the form v1_0"
    major, minor = int(match[1]), int(match[2] or 0)
    if major == API_VERSION[0] and minor <= API_VERSION[1]:
        return ""
    ours = ".".join(map(str, API_VERSION))
    newer = (major, minor) > API_VERSION
    line = "pip install --upgrade plugtune" if newer else "pip install --upgrade the plugin"
    return f"it was written for plugin API {major}.{minor} and this plugtune has {ours}; {line}"


def requirement_problems(requires: Iterable[str], versions: Versions | None = None) -> list[str]:
    """What is missing or out of range among PEP 508 requirements (extras left out), each with its pip line."""
    versions = versions or Versions()
    return [problem for line in requires if (problem := _requirement_problem(line, versions))]


_PLAIN_VERSION = re.compile(r"\d+(?:\.\d+)*")
_OF_AN_EXTRA = re.compile(r"; *extra *== *['\"][\w.-]+['\"]$")
_PLAIN = re.compile(r"([A-Za-z0-9._-]+) ?\(?((?:(?:>=|<=|<|>|==|!=)\d+(?:\.\d+)*,?)+)\)?")


def _holds_plainly(line: str, versions: Versions) -> bool:
    """Whether a requirement of the plainest form (`name>=1.2,<2`) holds; false also means that it is not plain.

    Nearly all are, and `packaging` takes longer to import than a listing of two hundred plugins should.
    """
    plain = _PLAIN.fullmatch(line)
    version = versions.get(plain[1]) if plain else None
    if plain is None or version is None or not _PLAIN_VERSION.fullmatch(version):
        return False
    return all(_compares(version, *re.match(r"([<>=!]+)(.*)", part).groups()) for part in plain[2].split(",") if part)  # type: ignore[union-attr]


def _compares(version: str, sign: str, bound: str) -> bool:
    ours, theirs = ([int(part) for part in text.split(".")] for text in (version, bound))
    length = max(len(ours), len(theirs))
    left, right = (parts + [0] * (length - len(parts)) for parts in (ours, theirs))
    return {
        ">=": left >= right, "<=": left <= right, "<": left < right, ">": left > right, "==": left == right,
        "!=": left != right,
    }[sign]  # fmt: skip


def _requirement_problem(line: str, versions: Versions) -> str:
    if _OF_AN_EXTRA.search(line) or _holds_plainly(line, versions):
        return ""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return f"its requirement {line!r} is not valid"
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return ""
    wanted = f"{requirement.name}{requirement.specifier}"
    version = versions.get(requirement.name)
    if version is None:
        return f'it needs {wanted}, which is not installed; pip install "{wanted}"'
    if not requirement.specifier.contains(version, prereleases=True):
        return f'it needs {wanted} and {version} is installed; pip install "{wanted}"'
    return ""

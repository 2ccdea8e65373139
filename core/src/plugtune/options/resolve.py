"""Checks a request against the schemas of everyone who takes part, and builds the options objects.

All wrong names and values of a call are told in one message, each with its place and near names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from plugtune.errors import Problem, RequestError, did_you_mean
from plugtune.options.aliases import ALIASES, REWRITES
from plugtune.options.coerce import WrongValue, coerce
from plugtune.options.reader import Given, Request
from plugtune.options.schema import OptionSpec, specs_of


@dataclass(slots=True)
class Resolved:
    """The outcome: an options object per group, trainer fields that were named, and notes for the user."""

    groups: dict[str, Any]
    trainer: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    given: dict[str, tuple[Any, str]] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """All values by option name, defaults included; for cross-checks."""
        merged = dict(self.trainer)
        for group in self.groups.values():
            merged.update({name: getattr(group, name) for name in _field_names(type(group))})
        return merged


def _field_names(group: type) -> list[str]:
    return [spec.name for spec in specs_of(group)]


@cache
def trainer_specs() -> tuple[OptionSpec, ...]:
    """The fields of `transformers.TrainingArguments` that core does not own, as schemas."""
    rows = json.loads(Path(__file__).with_name("trainer_fields.json").read_text(encoding="utf-8"))
    return tuple(OptionSpec(**row, owner="trainer") for row in rows)


@cache
def _foreign() -> dict[str, str]:
    table = json.loads(Path(__file__).with_name("foreign.json").read_text(encoding="utf-8"))
    return {name: text for name, text in table.items() if name != "_"}


def expand_aliases(request: Request) -> tuple[dict[str, Given], list[str], list[Problem]]:
    """Old names replaced by what they mean: values by new name, notes, and contradictions."""
    values: dict[str, Given] = {}
    notes: list[str] = []
    problems: list[Problem] = []
    for name, given in request.values.items():
        if name not in ALIASES and name not in REWRITES:
            values[name] = given
    for name, given in request.values.items():
        alias = ALIASES.get(name)
        if alias is None and name not in REWRITES:
            continue
        new = REWRITES[name](given.value) if alias is None else alias.convert(given.value)
        for target, value in new.items():
            other = values.get(target)
            if other is not None and str(other.value) != str(value):
                problems.append(
                    Problem(
                        f"{name} and {target} mean the same and have different values",
                        where=f"{given.where}; {other.where}", fix=f"keep {target}",
                    )
                )  # fmt: skip
            else:
                values[target] = Given(value, given.where)
        if alias is not None and not new and alias.note:
            notes.append(f"{name} has no effect: {alias.note}")
        elif alias is not None:
            meant = ", ".join(new)
            if meant:
                notes.append(f"{name} is now {meant}" + (f": {alias.note}" if alias.note else ""))
    return values, notes, problems


def resolve(
    request: Request,
    groups: Mapping[str, type],
    *,
    trainer: bool = False,
    unused: Mapping[str, str] | None = None,
    known_elsewhere: Iterable[str] = (),
) -> Resolved:
    """Build the options objects of `groups` from a request.

    Args:
        request: what was given.
        groups: options dataclass by owner; an option has one owner.
        trainer: whether fields of `transformers.TrainingArguments` are accepted.
        unused: option → owner for installed pieces that this run does not use; accepted with a note.
        known_elsewhere: names offered as near names only.

    Raises:
        RequestError: lists every unknown name and every wrong value.
    """
    values, notes, problems = expand_aliases(request)
    owners: dict[str, tuple[str, OptionSpec]] = {}
    for owner, group in groups.items():
        for spec in specs_of(group, owner):
            owners[spec.name] = (owner, spec)
    fields = {spec.name: spec for spec in trainer_specs() if spec.name not in owners} if trainer else {}
    unused = unused or {}
    built: dict[str, dict[str, Any]] = {owner: {} for owner in groups}
    resolved = Resolved({}, notes=notes)
    names = [*owners, *fields, *unused, *known_elsewhere]
    for name, given in values.items():
        found = owners[name][1] if name in owners else fields.get(name)
        if found is None and name in unused:
            resolved.notes.append(f"{name} ({given.where}) has no effect: it belongs to {unused[name]}")
            continue
        if found is None:
            problems.append(unknown(name, given, names))
            continue
        try:
            value = coerce(found, given.value)
        except WrongValue as wrong:
            problems.append(Problem(f"{name}: {wrong.reason}", where=given.where, fix=wrong.fix))
            continue
        resolved.given[name] = (value, given.where)
        if name in owners:
            built[owners[name][0]][name] = value
        else:
            resolved.trainer[name] = value
    if problems:
        raise RequestError.of(problems)
    resolved.groups = {owner: group(**built[owner]) for owner, group in groups.items()}
    return resolved


def unknown(name: str, given: Given, names: Sequence[str]) -> Problem:
    """The problem of a name that nobody takes."""
    for pattern, text in _foreign().items():
        if fnmatchcase(name, pattern):
            return Problem(f"option {name} is not available", where=given.where, fix=text)
    near = did_you_mean(name, [*names, *ALIASES])
    return Problem(f"unknown option {name}", where=given.where, fix=near or "plugtune train --help lists all options")

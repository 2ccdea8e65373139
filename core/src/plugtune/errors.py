"""The errors a user can see: what is wrong, where it stands, why, and what to do next.

This module knows how a message is worded, not who raises it. Exit statuses follow the command-line contract:
0 done, 1 the work failed, 2 the request was wrong.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        what: the thing and what is wrong with it, one sentence without a full stop.
        where: file, line, row or field, as a person would look for it.
        why: the reason, when `what` does not say it already.
        fix: the next step, in the imperative.
    """

    what: str
    where: str = ""
    why: str = ""
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.why:
            text += f"\n    why: {self.why}"
        if self.fix:
            text += f"\n    fix: {self.fix}"
        return text


class PlugtuneError(Exception):
    """Base of every error that is told to the user without a traceback."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", why: str = "", fix: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, where, why, fix),)
        super().__init__(str(self))

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> PlugtuneError:
        """One error for several problems, so that a user mends all of them at once."""
        if not problems:
            raise ValueError("an error needs at least one problem")
        error = cls(problems[0].what)
        error.problems = tuple(problems)
        error.args = (str(error),)
        return error

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        lines = [f"{len(self.problems)} problems:"]
        lines += [f"  {number}. {problem}" for number, problem in enumerate(self.problems, 1)]
        return "\n".join(lines)


class RequestError(PlugtuneError):
    """The request was wrong: a flag, a file, a missing plugin, bad data. Exit status 2."""

    exit_code = 2


class DataError(RequestError):
    """A data set or one of its rows cannot be used as it is."""


class PluginError(RequestError):
    """A plugin that was asked for is missing, blocked, incompatible or failed to load."""


class RunError(PlugtuneError):
    """The request was fine and the work failed: no space, a broken file, a lost device. Exit status 1."""


def near_names(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Names from `known` that a person may have meant by `name`, best first."""
    lowered = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=limit, cutoff=0.6)
    return [lowered[c] for c in close]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A `fix` line for a misspelt name, or an empty string when nothing is near."""
    close = near_names(name, known)
    return f"did you mean {' or '.join(repr(c) for c in close)}?" if close else ""

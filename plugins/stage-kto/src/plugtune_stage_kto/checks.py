"""Which options do not go with feedback. Cheap: called before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune import Problem
from plugtune.options.answer_checks import judges_answers, uses_reference


def checks(values: Mapping[str, Any]) -> list[Problem]:
    """Problems of a request for stage kto."""
    problems = judges_answers(values) + uses_reference(values)
    if not values["pref_beta"]:
        problems.append(
            Problem("pref_beta is 0 and the loss vanishes with it", where="pref_beta",
                    fix="use a value above 0; 0.1 is the default")
        )  # fmt: skip
    return problems

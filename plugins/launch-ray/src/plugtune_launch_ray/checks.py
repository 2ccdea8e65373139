"""What can be told about a request before the cluster is asked. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from plugtune import Problem


def checks(values: Mapping[str, Any]) -> list[Problem]:
    """Problems of a run that Ray is to start."""
    if find_spec("ray") is None:
        return [Problem("Ray is not installed", where="launcher", fix="pip install 'plugtune-launch-ray[ray]'")]
    each = values.get("resources_per_worker") or {}
    wrong = [name for name, amount in each.items() if isinstance(amount, bool) or not isinstance(amount, int | float)]
    if wrong:
        return [Problem(f"the amount of {wrong[0]} is {each[wrong[0]]!r}", where="resources_per_worker",
                        fix='write numbers: {"GPU": 1}')]  # fmt: skip
    return []

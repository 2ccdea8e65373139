"""Whether the library behind an optimizer is installed. Cheap: called before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from plugtune import Problem


def _library(switch: str, module: str, extra: str) -> list[Problem]:
    if find_spec(module) is not None:
        return []
    fix = f"pip install 'plugtune-optim-extra[{extra}]'"
    return [Problem(f"{switch} needs the package {module.replace('_', '-')}", where=switch, fix=fix)]


def galore(values: Mapping[str, Any]) -> list[Problem]:
    """GaLore is its authors' package."""
    return _library("use_galore", "galore_torch", "galore")


def apollo(values: Mapping[str, Any]) -> list[Problem]:
    """APOLLO is its authors' package."""
    return _library("use_apollo", "apollo_torch", "apollo")


def adam_mini(values: Mapping[str, Any]) -> list[Problem]:
    """Adam-mini is its authors' package."""
    return _library("use_adam_mini", "adam_mini", "adam-mini")


def badam(values: Mapping[str, Any]) -> list[Problem]:
    """Blocks take turns in one process that holds whole weights."""
    if not (values.get("deepspeed") or values.get("fsdp")):
        return []
    return [Problem("BAdam does not go with sharded weights", where="use_badam", fix="leave deepspeed and fsdp out")]

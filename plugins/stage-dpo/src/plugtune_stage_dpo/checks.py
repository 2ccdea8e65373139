"""Which options do not go together in the preference stages. Cheap: called before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune import Problem
from plugtune.options.answer_checks import judges_answers, uses_reference

ALONE = ("orpo", "simpo")
"""Losses without a reference."""

NEEDS_REFERENCE = ("pref_bco_weight", "ref_model", "ref_model_adapters", "ref_model_quantization_bit")


def dpo(values: Mapping[str, Any]) -> list[Problem]:
    """Problems of a request for stage dpo."""
    loss, problems = values["pref_loss"], judges_answers(values)
    if values["dpo_label_smoothing"] and loss != "sigmoid":
        problems.append(
            Problem(f"dpo_label_smoothing does not go with pref_loss {loss}", where="dpo_label_smoothing",
                    why="it is defined for sigmoid", fix="leave it out, or use pref_loss sigmoid")
        )  # fmt: skip
    if loss not in ALONE:
        return problems + uses_reference(values) + _scaled(values, loss)
    problems += [
        Problem(f"{name} has no meaning with pref_loss {loss}", where=name, why="this loss has no reference model",
                fix=f"leave {name} out")
        for name in NEEDS_REFERENCE
        if values[name]
    ]  # fmt: skip
    return problems + _averaged(values, loss) + _scaled(values, loss)


def _averaged(values: Mapping[str, Any], loss: str) -> list[Problem]:
    if values["ld_alpha"] is None:
        return []
    return [Problem(f"ld_alpha has no meaning with pref_loss {loss}", where="ld_alpha",
                    why="this loss averages over tokens already", fix="leave ld_alpha out")]  # fmt: skip


def _scaled(values: Mapping[str, Any], loss: str) -> list[Problem]:
    if values["pref_beta"] or loss == "orpo":
        return []
    return [Problem(f"pref_beta is 0 and pref_loss {loss} divides by it or vanishes with it", where="pref_beta",
                    fix="use a value above 0; 0.1 is the default")]  # fmt: skip


def orpo(values: Mapping[str, Any]) -> list[Problem]:
    """Problems of a request for stage orpo."""
    return judges_answers(values)


def simpo(values: Mapping[str, Any]) -> list[Problem]:
    """Problems of a request for stage simpo."""
    return judges_answers(values) + _scaled(values, "simpo")

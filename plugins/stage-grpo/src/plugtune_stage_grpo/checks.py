"""Which options do not go with GRPO. Cheap: called before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune import Problem
from plugtune.training.online.options import scoring_checks


def checks(values: Mapping[str, Any]) -> list[Problem]:
    """What scores the answers must be named; and the rules of every stage that samples answers."""
    problems = []
    functions, weights = values["reward_funcs"], values["reward_weights"]
    sources = len(functions) + bool(values["reward_model"])
    if not values["do_train"]:
        problems.append(Problem("GRPO trains or does nothing", where="do_train", fix="add --do_train"))
    if not sources:
        problems.append(Problem("nothing scores the answers", where="reward_funcs",
                                fix="add --reward_funcs module:function or --reward_model FOLDER"))  # fmt: skip
    if weights and len(weights) != sources:
        problems.append(Problem(f"{len(weights)} weights for {sources} rewards", where="reward_weights"))
    problems += [
        Problem(f"reward function {name!r} names no function", where="reward_funcs", fix="write module:function")
        for name in functions
        if ":" not in name
    ]
    if values["ref_model"] and not values["beta"]:
        problems.append(Problem("ref_model has no effect with beta 0", where="ref_model", fix="set beta, 0.04 say"))
    return problems + scoring_checks(values, adapter_method="lora_rank" in values)

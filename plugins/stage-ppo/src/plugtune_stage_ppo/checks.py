"""Which options do not go with PPO. Cheap: called before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune import Problem
from plugtune.training.online.options import scoring_checks

LOGGERS = ("none", "all", "wandb", "tensorboard", "trackio")


def checks(values: Mapping[str, Any]) -> list[Problem]:
    """LLaMA-Factory's rules for PPO, and those of every stage that samples answers."""
    problems = []
    if not values["do_train"]:
        problems.append(Problem("PPO trains or does nothing", where="do_train", fix="add --do_train"))
    if not values["reward_model"]:
        problems.append(
            Problem("PPO needs a reward model", where="reward_model",
                    fix="add --reward_model FOLDER of a run with --stage rm, or --reward_model_type api or function")
        )  # fmt: skip
    if values.get("pissa_init") and values["reward_model_type"] == "lora":
        problems.append(Problem("pissa_init does not go with a reward adapter", where="pissa_init",
                                why="the reward adapter needs the base as it was, and PiSSA changes it",
                                fix="use reward_model_type full, api or function"))  # fmt: skip
    given = values.get("report_to") or "none"
    wrong = [name for name in ([given] if isinstance(given, str) else given) if name not in LOGGERS]
    if wrong:
        problems.append(Problem(f"report_to {', '.join(wrong)} is not known to PPO", where="report_to",
                                fix="use tensorboard, wandb or trackio"))  # fmt: skip
    return problems + scoring_checks(values, adapter_method="lora_rank" in values)

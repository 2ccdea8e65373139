"""Options of everything that scores sampled answers, with LLaMA-Factory's names; stages inherit what they use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plugtune.errors import Problem
from plugtune.options.schema import option


@dataclass
class ScoringOptions:
    """Where rewards come from, and the reference that the policy is held to."""

    reward_model: str | None = option(
        None, help="What scores answers: an adapter or model folder, an http(s) address, or module:function."
    )
    reward_model_adapters: list[str] = option([], help="Adapters to put on a full reward model; a comma list.")
    reward_model_quantization_bit: int | None = option(
        None, help="Bits of a quantized full reward model.", choices=(4, 8)
    )
    reward_model_type: str = option(
        "lora",
        help="lora: an adapter over the policy's base; full: a model of its own; api: a server; function: Python code.",
        choices=("lora", "full", "api", "function"),
    )
    reward_timeout: float = option(60.0, help="Seconds that a reward server may take for one call.", minimum=0.1)
    ref_model: str | None = option(None, help="Reference model; the policy before training when left out.")
    ref_model_adapters: list[str] = option([], help="Adapters to put on ref_model; a comma list.")
    ref_model_quantization_bit: int | None = option(None, help="Bits of a quantized ref_model.", choices=(4, 8))


def models_beside(values: Mapping[str, Any], adapters: bool, *, reference: bool = True) -> float:
    """Frozen models that stand beside the policy, in sizes of it: a full reward model, and the reference.

    An adapter's base is its reference; without one the policy's weights are copied before training.

    Args:
        values: options by name.
        adapters: whether the tuning method trains an adapter.
        reference: whether the policy is held to a reference at all.
    """
    full = bool(values.get("reward_model")) and values.get("reward_model_type") == "full"
    reward = (values.get("reward_model_quantization_bit") or 32) / 32 if full else 0.0
    if not reference:
        return reward
    if values.get("ref_model"):
        return reward + (values.get("ref_model_quantization_bit") or 32) / 32
    return reward + (0 if adapters else 1)


def scoring_checks(values: Mapping[str, Any], *, adapter_method: bool) -> list[Problem]:
    """Contradictions between the options above, and with sampling.

    Args:
        values: all values of a request.
        adapter_method: whether the tuning method trains an adapter.
    """
    problems = []
    kind, name = values["reward_model_type"], values["reward_model"]
    if name and kind == "lora" and not adapter_method:
        problems.append(
            Problem("reward_model_type lora needs a method that trains an adapter", where="reward_model_type",
                    why="the reward adapter shares the policy's frozen base",
                    fix="merge it with plugtune export and use reward_model_type full")
        )  # fmt: skip
    if name and kind == "api" and not str(name).startswith(("http://", "https://")):
        problems.append(
            Problem(f"reward_model {name} is no address", where="reward_model", fix="give http://HOST:PORT/PATH")
        )
    if name and kind == "function" and ":" not in str(name):
        problems.append(
            Problem(f"reward_model {name} is no function", where="reward_model", fix="give module:function")
        )
    for option_name in ("reward_model_adapters", "reward_model_quantization_bit"):
        if values[option_name] and kind != "full":
            problems.append(Problem(f"{option_name} goes with reward_model_type full only", where=option_name))
    for option_name in ("ref_model_adapters", "ref_model_quantization_bit"):
        if values[option_name] and not values["ref_model"]:
            problems.append(Problem(f"{option_name} needs ref_model", where=option_name))
    return problems + _sampling(values)


def _sampling(values: Mapping[str, Any]) -> list[Problem]:
    problems = []
    if not values["do_sample"] or values["temperature"] == 0:
        problems.append(
            Problem("answers must be sampled", where="do_sample" if not values["do_sample"] else "temperature",
                    why="a policy that always gives the same answer cannot be compared with itself",
                    fix="leave do_sample on and temperature above 0")
        )  # fmt: skip
    if values["num_beams"] != 1:
        problems.append(Problem("answers are sampled, not searched for with beams", where="num_beams"))
    if values.get("neftune_noise_alpha"):
        problems.append(Problem("neftune_noise_alpha has no meaning for sampled answers", where="neftune_noise_alpha",
                                why="probabilities before and after a step are compared, and noise would differ",
                                fix="leave it out"))  # fmt: skip
    if values["streaming"]:
        problems.append(Problem("streaming does not go with sampled answers", where="streaming",
                                why="prompts are drawn by their number"))  # fmt: skip
    for name in ("train_on_prompt", "mask_history", "packing", "neat_packing", "packing_length"):
        if values.get(name):
            problems.append(Problem(f"{name} has no meaning for sampled answers", where=name, fix=f"leave {name} out"))
    if values.get("load_best_model_at_end"):
        problems.append(Problem("load_best_model_at_end has no meaning here", where="load_best_model_at_end",
                                why="there is no evaluation loss to choose by"))  # fmt: skip
    if values["do_eval"] or values["do_predict"] or str(values.get("eval_strategy", "no")) != "no":
        problems.append(Problem("this stage has no evaluation", where="do_eval",
                                fix="use plugtune eval or chat on what it leaves"))  # fmt: skip
    if values.get("deepspeed") or values.get("fsdp"):
        problems.append(Problem("sampling needs whole weights on each process", where="deepspeed or fsdp",
                                fix="train an adapter (lora) on plain data-parallel processes"))  # fmt: skip
    return problems

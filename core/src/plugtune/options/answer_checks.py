"""Cross-checks that stages over judged answers share (preferences, feedback): cheap, each a function of all values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugtune.errors import Problem

Values = Mapping[str, Any]

CONVERSATION_ONLY = (
    "predict_with_generate", "do_predict", "packing", "neat_packing", "packing_length", "train_on_prompt",
    "mask_history", "label_smoothing_factor",
)  # fmt: skip


def judges_answers(v: Values) -> list[Problem]:
    """Options of conversation stages have no meaning where whole answers are compared."""
    problems = [
        Problem(f"{name} has no meaning in stage {v['stage']}", where=name, why="its rows are prompts with answers "
                "that are judged whole", fix=f"leave {name} out")
        for name in CONVERSATION_ONLY
        if v.get(name)
    ]  # fmt: skip
    if v["long_rows"] == "split":
        problems.append(
            Problem(f"long_rows split has no meaning in stage {v['stage']}", where="long_rows",
                    why="an answer that is judged whole cannot be split", fix="use cut, drop or error")
        )  # fmt: skip
    return problems


def uses_reference(v: Values) -> list[Problem]:
    """What does not go with a reference model whose log-probabilities are computed before training."""
    problems = []
    if v["streaming"]:
        problems.append(
            Problem(f"streaming does not go with the reference model of stage {v['stage']}", where="streaming",
                    why="its log-probabilities are computed once, before training, for rows that are known",
                    fix="leave streaming out, or use a loss without a reference")
        )  # fmt: skip
    problems += [
        Problem(f"{name} needs ref_model", where=name, fix="add --ref_model FOLDER_OR_NAME")
        for name in ("ref_model_adapters", "ref_model_quantization_bit")
        if v[name] and not v["ref_model"]
    ]
    problems += [
        Problem(f"{folder} holds no adapter", where="ref_model_adapters", why="there is no adapter_config.json")
        for folder in v["ref_model_adapters"]
        if Path(folder).expanduser().is_dir() and not (Path(folder).expanduser() / "adapter_config.json").is_file()
    ]
    model = Path(v["ref_model"] or ".").expanduser()
    if model.is_dir() and v["ref_model"] and not any((*model.glob("config.json"), *model.glob("*.gguf"))):
        problems.append(Problem(f"{model} holds no model", where="ref_model", why="there is no config.json"))
    if v["ref_model"] and not model.exists() and (model.is_absolute() or v["ref_model"].startswith((".", "~"))):
        problems.append(Problem(f"there is no folder {model}", where="ref_model", fix="give an existing folder"))
    return problems

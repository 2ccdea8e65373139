"""Cross-checks between core's options: each a small function of all values, returning its problems."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from plugtune.errors import Problem

Values = Mapping[str, Any]


def something_to_do(v: Values) -> list[Problem]:
    """A run without do_train, do_eval and do_predict would do nothing."""
    if v["do_train"] or v["do_eval"] or v["do_predict"]:
        return []
    return [Problem("nothing to do: do_train, do_eval and do_predict are all off", fix="add --do_train")]


def has_model(v: Values) -> list[Problem]:
    """A run needs a model."""
    if v["model_name_or_path"]:
        return []
    return [Problem("no model", where="model_name_or_path", fix="add --model_name_or_path FOLDER_OR_NAME")]


def has_output(v: Values) -> list[Problem]:
    """A run needs a folder for what it leaves."""
    return [] if v["output_dir"] else [Problem("no output folder", where="output_dir", fix="add --output_dir FOLDER")]


def has_data(v: Values) -> list[Problem]:
    """Training needs rows; evaluation needs rows of its own or a share of them."""
    problems = []
    if v["do_train"] and not v["dataset"] and not v["tokenized_path"]:
        problems.append(Problem("no data set", where="dataset", fix="add --dataset NAME_OR_FILE"))
    if (v["do_eval"] or v["do_predict"]) and not (v["eval_dataset"] or v["val_size"] > 0 or v["tokenized_path"]):
        problems.append(
            Problem("nothing to evaluate on", where="eval_dataset", fix="add --eval_dataset NAME or --val_size 0.1")
        )
    return problems


def evaluation_rows(v: Values) -> list[Problem]:
    """val_size and eval_dataset exclude each other, and a share must leave something to train on."""
    problems = []
    if v["val_size"] > 0 and v["eval_dataset"]:
        problems.append(Problem("val_size and eval_dataset exclude each other", where="val_size", fix="keep one"))
    if v["val_size"] >= 1 and v["val_size"] != int(v["val_size"]):
        problems.append(Problem("val_size is a fraction below 1 or a whole number of rows", where="val_size"))
    strategy = str(v.get("eval_strategy", "no"))
    if v["do_train"] and strategy != "no" and not v["eval_dataset"] and not v["val_size"] and not v["tokenized_path"]:
        problems.append(
            Problem(f"eval_strategy is {strategy} and there is nothing to evaluate on", where="eval_strategy",
                    fix="add --eval_dataset NAME or --val_size 0.1")
        )  # fmt: skip
    if v["early_stopping_steps"] and strategy == "no":
        problems.append(
            Problem("early_stopping_steps needs evaluations", where="early_stopping_steps",
                    fix="add --eval_strategy steps --eval_steps N")
        )  # fmt: skip
    return problems


def streaming(v: Values) -> list[Problem]:
    """Streamed rows have no length."""
    if not v["streaming"]:
        return []
    problems = []
    if v["do_train"] and int(v.get("max_steps", -1)) <= 0:
        problems.append(Problem("streaming needs max_steps", where="streaming", why="a stream has no known length"))
    if 0 < v["val_size"] < 1:
        problems.append(Problem("streaming needs a whole number as val_size", where="val_size"))
    if v["max_samples"]:
        problems.append(Problem("max_samples does not go with streaming", where="max_samples", fix="use max_steps"))
    if v["tokenized_path"]:
        problems.append(Problem("tokenized_path does not go with streaming", where="tokenized_path"))
    return problems


def packing(v: Values) -> list[Problem]:
    """A pack has room for any row."""
    length = v["packing_length"]
    if length is None:
        return []
    problems = []
    if not (v["packing"] or v["neat_packing"]):
        problems.append(
            Problem("packing_length has no meaning without packing", where="packing_length", fix="add --packing true")
        )
    if length < v["cutoff_len"]:
        problems.append(
            Problem(f"packing_length {length} is shorter than cutoff_len {v['cutoff_len']}", where="packing_length",
                    why="the longest rows would not fit into a pack", fix="raise it, or lower cutoff_len")
        )  # fmt: skip
    return problems


def prediction(v: Values) -> list[Problem]:
    """do_predict generates."""
    if v["do_predict"] and not v["predict_with_generate"]:
        return [
            Problem("do_predict needs predict_with_generate", where="do_predict", fix="add --predict_with_generate")
        ]
    return []


def mixing(v: Values) -> list[Problem]:
    """Probabilities belong to interleaving, one for each data set."""
    probabilities = v["interleave_probs"]
    if not probabilities:
        return []
    if v["mix_strategy"] == "concat":
        return [Problem("interleave_probs has no meaning with mix_strategy concat", where="interleave_probs")]
    if len(probabilities) != len(v["dataset"]):
        return [
            Problem(f"{len(probabilities)} probabilities for {len(v['dataset'])} data sets", where="interleave_probs")
        ]
    if abs(sum(probabilities) - 1) > 1e-6:
        return [Problem(f"probabilities add up to {sum(probabilities):g}, not 1", where="interleave_probs")]
    return []


def precision(v: Values) -> list[Problem]:
    """One precision at a time."""
    chosen = [name for name in ("bf16", "fp16", "pure_bf16") if v.get(name)]
    if len(chosen) > 1:
        return [Problem(f"{' and '.join(chosen)} exclude each other", where=chosen[0], fix="keep one")]
    return []


def quantized(v: Values) -> list[Problem]:
    """A quantized base keeps its vocabulary."""
    if v["quantization_bit"] and (v["resize_vocab"] or v["add_tokens"] or v["add_special_tokens"]):
        return [Problem("a quantized model cannot get new tokens", where="quantization_bit",
                        fix="leave quantization_bit out, or the new tokens")]  # fmt: skip
    return []


def installed(name: str) -> bool:
    """Whether a package can be imported; imports nothing."""
    return find_spec(name) is not None


def _text_of(given: str) -> str:
    return given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8")


def deepspeed(v: Values) -> list[Problem]:
    """DeepSpeed is an installation of its own, and its configuration a file."""
    given = v.get("deepspeed")
    if not given:
        return []
    problems = []
    if not installed("deepspeed"):
        problems.append(Problem("DeepSpeed is not installed", where="deepspeed",
                                fix="pip install deepspeed; or shard with fsdp (docs/distributed.md)"))  # fmt: skip
    try:
        config = given if isinstance(given, dict) else json.loads(_text_of(str(given)))
    except (OSError, ValueError) as error:
        problems.append(Problem(f"DeepSpeed's configuration {given} cannot be read", where="deepspeed", why=str(error),
                                fix="give a JSON file; see examples/deepspeed"))  # fmt: skip
        config = {}
    zero = config.get("zero_optimization") or {} if isinstance(config, dict) else {}
    if zero.get("stage") == 3 and not zero.get("stage3_gather_16bit_weights_on_model_save"):
        fix = 'add "stage3_gather_16bit_weights_on_model_save": true to "zero_optimization"'
        problems.append(Problem("the run would leave no whole weights", where="deepspeed",
                                why="ZeRO-3 saves the pieces of each process alone", fix=fix))  # fmt: skip
    if v.get("fsdp"):
        problems.append(Problem("deepspeed and fsdp exclude each other", where="deepspeed", fix="keep one"))
    return problems


CHECKS: tuple[Callable[[Values], list[Problem]], ...] = (
    something_to_do, has_model, has_output, has_data, evaluation_rows, streaming, packing, prediction, mixing,
    precision, quantized, deepspeed,
)  # fmt: skip


def cross_check(values: Values) -> list[Problem]:
    """All problems that the checks of this page find."""
    return [problem for check in CHECKS for problem in check(values)]

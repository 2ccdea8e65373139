"""The harness over a model that plugtune has loaded: adapters, quantization, template and native families included."""

from __future__ import annotations

import logging
from typing import Any

from plugtune import RequestError, RunError

from plugtune_eval_lm_eval.options import HarnessOptions


def evaluate(options: HarnessOptions, model: Any, choice: Any, manager: Any, host: Any) -> tuple[dict[str, Any], Any]:
    """The report, and every request with its answer by task.

    Raises:
        RequestError: the model or its template cannot be used.
        RunError: a task's data cannot, or the harness gives up.
    """
    import lm_eval
    from plugtune.inference.engine import open_model

    engine = open_model(model, choice, host)
    if options.apply_chat_template:
        _keep_template(engine)
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    try:
        found = lm_eval.simple_evaluate(
            wrap(engine, options.batch_size), tasks=list(options.tasks), task_manager=manager,
            num_fewshot=options.num_fewshot, limit=options.limit, apply_chat_template=options.apply_chat_template,
            bootstrap_iters=1000, random_seed=options.seed, numpy_random_seed=options.seed,
            torch_random_seed=options.seed, fewshot_random_seed=options.seed,
        )  # fmt: skip
    except (OSError, ValueError, KeyError, RuntimeError, AssertionError) as error:
        raise RunError(
            f"the harness stopped at {', '.join(options.tasks)}", where="tasks",
            why=f"{type(error).__name__}: {error}".split("\n")[0],
        ) from error  # fmt: skip
    if found is None:
        raise RunError("the harness gave no results", where="tasks")
    template = getattr(engine.template, "name", None) if options.apply_chat_template else None
    return _report(found, options, lm_eval.__version__, template), found.get("samples", {})


def wrap(engine: Any, batch: int) -> Any:
    """The engine's model and tokenizer as the harness's `LM`."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=engine.model, tokenizer=engine.tokenizer, backend="causal", batch_size=batch,
                max_length=engine.context() or None)  # fmt: skip


def _keep_template(engine: Any) -> None:
    """Let the tokenizer write the chat template in plugtune's form, which was proven equal to the one trained with."""
    from plugtune.templating.exported import store_template

    if engine.template is None:
        raise RequestError("the tokenizer has no chat template", where="apply_chat_template",
                           fix="name one with --template, or leave apply_chat_template out")  # fmt: skip
    store_template(engine.template, engine.tokenizer)


def _report(found: Any, options: HarnessOptions, version: str, template: str | None) -> dict[str, Any]:
    """The harness's results in plain names: `acc,none` is the score `acc`, another filter stands behind its name."""
    tasks: dict[str, Any] = {}
    for task, numbers in found["results"].items():
        plain = {key.removesuffix(",none"): value for key, value in numbers.items()}
        scores = {k: float(v) for k, v in plain.items() if isinstance(v, int | float) and k not in ("sample_len",)}
        errors = {k.replace("_stderr", "", 1): scores.pop(k) for k in list(scores) if "_stderr" in k}
        count = (found.get("n-samples", {}).get(task) or {}).get("effective")
        shots = found.get("n-shot", {}).get(task)
        tasks[task] = {"scores": scores, "errors": errors, "rows": count, "num_fewshot": shots}
    return {"kind": "lm-eval", "lm_eval": version, "template": template, "limit": options.limit, "tasks": tasks}

"""`plugtune eval`: loss and perplexity on a data set, generated answers and their scores, multiple choice."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError
from plugtune.inference.engine import Engine, open_engine, open_model
from plugtune.options.groups import DataOptions, GenerationOptions, ModelOptions
from plugtune.options.reader import Given, Request
from plugtune.options.schema import option
from plugtune.plugins.host import PluginHost


@dataclass(slots=True)
class EvalOptions:
    """What is evaluated."""

    task: str | None = option(None, help="Multiple choice: mmlu_test, cmmlu_test, ceval_validation ...")
    task_dir: str = option("evaluation", help="Folder with the task's CSV files.")
    n_shot: int = option(5, help="Solved questions before each question.", minimum=0)
    lang: str = option("en", help="Language of the question's wording.", choices=("en", "zh"))
    batch_size: int = option(4, help="Rows or questions computed together.", minimum=1)
    save_dir: str | None = option(None, help="New folder for the report and all answers.")
    stage: str = option("sft", help="How rows are read: sft, or pt for documents.")
    finetuning_type: str = option("lora", help="How the model was tuned; adapters are found by their folder.")
    predict_with_generate: bool = option(False, help="Generate answers to the rows and score them.")
    seed: int = option(42, help="Seed of sampling.", minimum=0)


def run_eval(request: Request, host: PluginHost) -> dict[str, Any]:
    """Evaluate as asked; returns the report.

    Raises:
        PlugtuneError: the request, a file or the model is wrong.
    """
    from plugtune.options.resolve import resolve

    groups = {"eval": EvalOptions, "model": ModelOptions, "data": DataOptions, "generation": GenerationOptions}
    chosen = resolve(request, groups).groups
    options, model, data = chosen["eval"], chosen["model"], chosen["data"]
    if not model.model_name_or_path:
        raise RequestError("no model", where="model_name_or_path", fix="add --model_name_or_path FOLDER")
    if bool(options.task) == bool(data.dataset or data.eval_dataset):
        raise RequestError("evaluation needs a task or a data set, one of them", where="task",
                           fix="add --task mmlu_test --task_dir FOLDER, or --eval_dataset NAME")  # fmt: skip
    folder = _new_folder(options.save_dir)
    report, answers = _choice(options, model, data, host) if options.task else _rows(options, chosen, request, host)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "results.json", report)
        _write(folder / "answers.json", answers)
    return report


def _new_folder(name: str | None) -> Path | None:
    if name is None:
        return None
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RequestError(f"save_dir {folder} is not empty", where="save_dir", fix="choose a new folder")
    return folder


def _write(path: Path, value: Any) -> None:
    from plugtune.training.checkpoint import write_whole

    write_whole(path, (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode("utf-8"))


def _choice(options: EvalOptions, model: Any, data: Any, host: PluginHost) -> tuple[dict[str, Any], Any]:
    from plugtune.inference.choice import answer_all, read_task

    subjects = read_task(str(options.task), options.task_dir)
    engine = open_engine(model, data, host)
    rows: list[dict[str, Any]] = []
    answers: dict[str, Any] = {}
    given = answer_all(engine, subjects, shots=options.n_shot, lang=options.lang, batch=options.batch_size)
    for subject, letters in zip(subjects, given, strict=True):
        right = sum(x == q.answer for x, q in zip(letters, subject.questions, strict=True))
        rows.append({"subject": subject.key, "group": subject.group, "correct": right, "questions": len(letters)})
        answers[subject.key] = {str(n): letter for n, letter in enumerate(letters)}
    groups = {
        group: [row for row in rows if row["group"] == group] for group in dict.fromkeys(r["group"] for r in rows)
    }
    accuracy = {"Average": _accuracy(rows), **{group: _accuracy(found) for group, found in groups.items()}}
    report = {
        "kind": "choice", "task": options.task, "n_shot": options.n_shot, "lang": options.lang,
        "template": engine.template.name, "accuracy": accuracy,
        "subjects": [{**row, "accuracy": _accuracy([row])} for row in rows],
    }  # fmt: skip
    return report, answers


def _accuracy(rows: list[dict[str, Any]]) -> float:
    """Per cent of all questions of some subjects."""
    count = sum(row["questions"] for row in rows)
    return round(100 * sum(row["correct"] for row in rows) / count, 2) if count else 0.0


def _rows(
    options: EvalOptions, chosen: dict[str, Any], request: Request, host: PluginHost
) -> tuple[dict[str, Any], Any]:
    from plugtune.training.run import prepare_rows, start

    data = chosen["data"]
    own = {"task", "task_dir", "n_shot", "lang", "batch_size", "save_dir"}
    values = {name: given for name, given in request.values.items() if name not in own}
    sets = ",".join(data.eval_dataset or data.dataset)
    values.pop("dataset", None)
    fixed = {"do_eval": "true", "eval_dataset": sets, "output_dir": options.save_dir or "unused-by-eval"}
    values |= {name: Given(value, "plugtune eval") for name, value in fixed.items()}
    run = start(Request(values), host)
    if options.predict_with_generate and not run.plan.stage.generates:
        raise RequestError(f"stage {options.stage} does not generate", where="predict_with_generate")
    prepare_rows(run)
    engine = open_model(chosen["model"], data, host)
    engine = replace(engine, template=run.template, tokenizer=run.tokenizer)
    found = run.rows.evaluation
    rows = [row for part in (found.values() if isinstance(found, dict) else [found]) for row in part]
    report: dict[str, Any] = {"kind": "rows", "data": run.rows.report.as_json(), "rows": len(rows)}
    report |= perplexity(engine, rows, options.batch_size)
    answers: list[dict[str, Any]] = []
    if options.predict_with_generate:
        scores, answers = generated(engine, rows, chosen["generation"], options.seed)
        report |= scores
    return report, answers


def perplexity(engine: Engine, rows: list[Any], batch: int) -> dict[str, float]:
    """Mean negative log-likelihood of all trained tokens together, and its exponential."""
    import torch

    from plugtune.training.collate import IGNORE, PaddedCollator

    collate = PaddedCollator(engine.tokenizer.pad_token_id or 0)
    total, count = 0.0, 0
    engine.model.eval()
    with torch.no_grad():
        for start in range(0, len(rows), batch):
            inputs = {k: v.to(engine.model.device) for k, v in collate(rows[start : start + batch]).items()}
            labels = inputs.pop("labels")[:, 1:]
            logits = engine.model(**inputs, use_cache=False).logits[:, :-1]
            kept = labels != IGNORE
            logs = torch.nn.functional.cross_entropy(logits[kept].float(), labels[kept], reduction="sum")
            total, count = total + float(logs), count + int(kept.sum())
    loss = total / count if count else float("nan")
    return {"loss": loss, "perplexity": math.exp(min(loss, 700)), "tokens": count}


def generated(
    engine: Engine, rows: list[Any], options: GenerationOptions, seed: int
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Answers to the rows, and their scores against the rows' own."""
    from plugtune.inference.predict import split_row
    from plugtune.inference.text_scores import missing_libraries, score_texts

    missing = missing_libraries()
    if missing:
        raise RequestError(
            f"BLEU and ROUGE need {', '.join(missing)}", where="predict_with_generate",
            fix="pip install 'plugtune[metrics]'",
        )  # fmt: skip
    pairs = [split_row(row) for row in rows]
    decode = lambda ids: str(engine.tokenizer.decode(ids, skip_special_tokens=True)).strip()  # noqa: E731
    labels = [decode(reference) for _, reference in pairs]
    answers = [text.strip() for text in engine.complete([p for p, _ in pairs], options, seed=seed)]
    matches = sum(a == b for a, b in zip(answers, labels, strict=True))
    scores = {"exact_match": round(100 * matches / max(len(rows), 1), 4), **score_texts(answers, labels)}
    listed = [
        {"prompt": decode(prompt), "predict": answer, "label": label}
        for (prompt, _), answer, label in zip(pairs, answers, labels, strict=True)
    ]
    return scores, listed

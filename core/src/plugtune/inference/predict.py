"""`do_predict`: answers to the evaluation rows, written beside their references and scored."""

from __future__ import annotations

import json
from typing import Any

from plugtune.errors import PluginError
from plugtune.training.checkpoint import write_whole


def predict(run: Any, trainer: Any) -> dict[str, float]:
    """Generate an answer for each evaluation row, write `generated_predictions.jsonl`, return the scores.

    The prompt of a row is everything before its last trained stretch; the reference is that stretch. BLEU-4 and ROUGE
    need the extra `plugtune[metrics]`; without it only exact matches are counted, and a note says so.
    """
    from plugtune.inference.engine import Engine
    from plugtune.inference.text_scores import missing_libraries, score_texts

    rows = run.rows.evaluation
    sets = rows.values() if isinstance(rows, dict) else [rows]
    engine = Engine(trainer.model, run.tokenizer, run.template)
    pairs = [split_row(row) for rows in sets for row in rows]
    decode = lambda tokens: run.tokenizer.decode(tokens, skip_special_tokens=True)  # noqa: E731
    answers = [
        text.strip()
        for text in engine.complete([prompt for prompt, _ in pairs], run.plan.generation, seed=run.plan.run.seed)
    ]
    labels = [decode(reference).strip() for _, reference in pairs]
    lines = [
        json.dumps({"prompt": decode(prompt), "predict": answer, "label": label}, ensure_ascii=False)
        for (prompt, _), answer, label in zip(pairs, answers, labels, strict=True)
    ]
    write_whole(run.output_dir / "generated_predictions.jsonl", ("\n".join(lines) + "\n").encode("utf-8"))
    matches = sum(answer == label for answer, label in zip(answers, labels, strict=True))
    scores = {"predict_exact_match": matches / len(pairs) if pairs else 0.0, "predict_samples": float(len(pairs))}
    scores |= _of_plugins(run, lines)
    missing = missing_libraries()
    if missing:
        run.plan.notes.append(f"no BLEU and ROUGE: {', '.join(missing)} missing (pip install 'plugtune[metrics]')")
        return scores
    return scores | {f"predict_{name}": value for name, value in score_texts(answers, labels).items()}


def _of_plugins(run: Any, lines: list[str]) -> dict[str, float]:
    """Scores of plugins; a name has one owner."""
    if not run.host.hook.plugtune_metrics.get_hookimpls():
        return {}
    scores: dict[str, float] = {}
    for found in run.host.hook.plugtune_metrics(predictions=[json.loads(line) for line in lines], plan=run.plan):
        if twice := sorted(set(found) & set(scores)):
            raise PluginError(f"two plugins give the metric {', '.join(twice)}", fix="deny one of them")
        scores |= {str(name): float(value) for name, value in found.items()}
    return scores


def split_row(row: Any) -> tuple[list[int], list[int]]:
    """A token row as prompt and reference: the last stretch of trained labels is the reference."""
    start = next((i for i in range(len(row["labels"]) - 1, -1, -1) if row["labels"][i] == -100), -1) + 1
    return list(row["input_ids"][:start]), list(row["input_ids"][start:])

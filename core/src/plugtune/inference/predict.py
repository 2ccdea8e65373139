"""`do_predict`: answers to the evaluation rows, written beside their references."""

from __future__ import annotations

import json
from typing import Any

from plugtune.training.checkpoint import write_whole


def predict(run: Any, trainer: Any) -> dict[str, float]:
    """Generate an answer for each evaluation row, write `generated_predictions.jsonl`, return exact-match share.

    The prompt of a row is everything before its last trained stretch; the reference is that stretch.
    """
    import torch

    from plugtune.inference.engine import Engine

    rows = run.rows.evaluation
    sets = rows.values() if isinstance(rows, dict) else [rows]
    engine = Engine(trainer.model, run.tokenizer, run.template)
    settings = engine.settings(run.plan.generation)
    lines, matches, count = [], 0, 0
    for row in (row for rows in sets for row in rows):
        start = next((i for i in range(len(row["labels"]) - 1, -1, -1) if row["labels"][i] == -100), -1) + 1
        prompt, reference = row["input_ids"][:start], row["input_ids"][start:]
        with torch.no_grad():
            ids = torch.tensor([prompt], device=trainer.model.device)
            output = trainer.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)[0]
        decode = lambda tokens: run.tokenizer.decode(tokens, skip_special_tokens=True)  # noqa: E731
        answer, label = decode(output[len(prompt) :]).strip(), decode(reference).strip()
        matches += answer == label
        count += 1
        lines.append(json.dumps({"prompt": decode(prompt), "predict": answer, "label": label}, ensure_ascii=False))
    write_whole(run.output_dir / "generated_predictions.jsonl", ("\n".join(lines) + "\n").encode("utf-8"))
    return {"predict_exact_match": matches / count if count else 0.0, "predict_samples": float(count)}

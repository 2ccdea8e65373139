"""Peak memory of a training step with a vocabulary of 152,000 words: the head in chunks against all logits at once.

    python bench/cross_entropy.py [--rows 4] [--length 256] [--rounds 2] [--json FILE]

The model is a Qwen2 with hidden size 896, 4 blocks and random weights; every token is trained on, LoRA on all linear
layers. Each side is a process of its own; its memory is what the step adds to the loaded model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from peers import environment
from record import OURS, Measurement, Result, provenance
from report import lines

SIDE = """
import json, resource, sys, time
import torch
from contextlib import nullcontext
from peft import LoraConfig, get_peft_model
from transformers import Qwen2Config, Qwen2ForCausalLM
from plugtune.training import attention
from plugtune.training.collate import EndToEndCollator, PaddedCollator
from plugtune.training.deferred_head import defer_head, deferred
side, rows, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)
config = Qwen2Config(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=4,
                     num_attention_heads=14, num_key_value_heads=2, max_position_embeddings=2048)
model = get_peft_model(Qwen2ForCausalLM(config), LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
model.train()
ids = torch.randint(0, 151936, (rows, length)).tolist()
batch = [{"input_ids": r, "labels": r} for r in ids]
chunked = side == "chunked"
if chunked:
    assert attention.enable(model) and defer_head(model)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with (attention.segments() if chunked else nullcontext()), (deferred() if chunked else nullcontext()):
    started = time.process_time()
    inputs = (EndToEndCollator() if chunked else PaddedCollator(0))(batch)
    loss = model(**inputs, use_cache=False, num_items_in_batch=torch.tensor(rows * (length - 1))).loss
    loss.backward()
norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
print(json.dumps({"seconds": time.process_time() - started, "before_mb": before / 1024, "loss": float(loss),
                  "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "gradient_norm": float(norm)}))
"""


def measure(side: str, rows: int, length: int) -> dict[str, Any]:
    """One side."""
    done = subprocess.run(
        [sys.executable, "-c", SIDE, side, str(rows), str(length)], env=environment(), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> None:
    """Measure and print; `--json FILE` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    names = {OURS: "chunked", "all logits at once": "plain"}
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in names}
    for _ in range(args.rounds):
        for side, name in names.items():
            runs[side].append(measure(name, args.rows, args.length))
    peaks = {side: [run["peak_mb"] for run in every] for side, every in runs.items()}
    ours, plain = (every[0] for every in runs.values())
    notes = (
        f"{args.rows} rows of {args.length} tokens", f"{ours['before_mb']:.0f} MB before the step",
        f"losses within {abs(ours['loss'] - plain['loss']):.1e}",
        f"norms of the gradients within {abs(ours['gradient_norm'] - plain['gradient_norm']):.1e}",
    )  # fmt: skip
    title = "One step with a vocabulary of 152,000 words"
    found = (
        Measurement(title, "peak MB", "lower", peaks, notes=notes),
        Measurement(title, "processor seconds", "lower", {s: [r["seconds"] for r in e] for s, e in runs.items()}),
    )
    for measurement in found:
        print("\n".join(lines(measurement)))
    if args.json:
        Result("cross_entropy", provenance(), found).write(args.json)


if __name__ == "__main__":
    main()

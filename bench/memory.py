"""Compares `plugtune estimate` with measured peaks: python bench/memory.py MODEL_FOLDER [--write docs/estimate.md]

Each case is a training run of two steps in a process of its own, all rows of the same length; its peak is the largest
resident set of the process as the kernel counted it (`ru_maxrss`). The estimate of the same request is made before. A
run of a tiny model first measures what the imports take, which is the constant that the estimate adds. Memory does not
depend on how busy the machine is, so this may run beside other work, as long as nothing is swapped out.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from processes import spend

BASE = ("--stage", "pt", "--do_train", "--dataset", "text", "--max_steps", "2", "--logging_steps", "1",
        "--save_strategy", "no", "--gradient_accumulation_steps", "1", "--overwrite_output_dir")  # fmt: skip
PROGRAM = [sys.executable, "-m", "plugtune"]
METHODS = {
    "full": ("--finetuning_type", "full"),
    "freeze": ("--finetuning_type", "freeze", "--freeze_trainable_layers", "4"),
    "lora": ("--finetuning_type", "lora", "--lora_rank", "16"),
    "qlora": ("--finetuning_type", "lora", "--quantization_bit", "4"),
}
CASES = (
    ("given", "lora", 1, 256, ()), ("given", "lora", 4, 256, ()), ("given", "lora", 2, 512, ("--bf16", "false")),
    ("given", "lora", 4, 512, ("--gradient_checkpointing", "true")),
    ("given", "full", 1, 256, ()), ("given", "full", 4, 256, ()), ("given", "full", 2, 512, ("--bf16", "false")),
    ("given", "freeze", 4, 256, ()), ("given", "freeze", 2, 512, ("--bf16", "false")),
    ("given", "qlora", 2, 256, ()), ("given", "qlora", 2, 512, ("--bf16", "false")),
    ("middle", "lora", 2, 512, ()), ("middle", "full", 2, 256, ()), ("middle", "full", 2, 512, ("--bf16", "false")),
    ("middle", "full", 2, 512, ("--gradient_checkpointing", "true")), ("middle", "freeze", 2, 512, ()),
    ("middle", "qlora", 1, 512, ()),
)  # fmt: skip


def make_middle(given: Path, folder: Path) -> None:
    """A random LLaMA of 263 M parameters with untied embeddings, and the given model's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(given)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=1280, intermediate_size=3456, num_hidden_layers=8,
        num_attention_heads=20, num_key_value_heads=4, tie_word_embeddings=False, max_position_embeddings=2048,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_tiny(given: Path, folder: Path) -> None:
    """A model of next to no parameters."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(given)
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                         num_attention_heads=2, num_key_value_heads=2)  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def peak(command: list[str]) -> float:
    """Largest resident set of a process, in MiB."""
    return spend(command, dict(os.environ)).peak_mb


def main() -> None:
    """Measure, compare, print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--measured", type=Path, help="keep measured peaks in this file, and use those that are there")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    known = json.loads(options.measured.read_text()) if options.measured and options.measured.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        words = "The quick brown fox jumps over the lazy dog and thinks about memory. " * 40
        (work / "text.txt").write_text("\n".join(words for _ in range(60)), encoding="utf-8")
        (work / "dataset_info.json").write_text(json.dumps({"text": {"file_name": "text.txt", "formatting": "text"}}))
        models = {"given": options.model, "middle": work / "middle", "tiny": work / "tiny"}
        make_tiny(options.model, models["tiny"])
        make_middle(options.model, models["middle"])
        cases = (("tiny", "lora", 1, 16, ()), *CASES)
        rows = []
        for model, method, batch, length, extra in cases:
            label = f"{model} {method} {batch} x {length} {' '.join(extra)}".strip()
            if options.only and options.only not in label:
                continue
            flags = [*BASE, *METHODS[method], *extra, "--model_name_or_path", str(models[model]),
                     "--dataset_dir", str(work), "--cutoff_len", str(length), "--per_device_train_batch_size",
                     str(batch), "--output_dir", str(work / "out")]  # fmt: skip
            if label not in known:
                known[label] = peak([*PROGRAM, "train", *flags])
                if options.measured:
                    options.measured.write_text(json.dumps(known, indent=1))
            done = subprocess.run(
                [*PROGRAM, "estimate", *flags, "--json"], capture_output=True, text=True, check=False
            )  # fmt: skip
            guess = json.loads(done.stdout)["peak_bytes"] / 2**20 if done.returncode == 0 else float("nan")
            rows.append((label, guess, known[label]))
            off = guess / known[label] - 1
            print(f"{label:56s} {guess:8.0f} MiB estimated {known[label]:8.0f} measured {off:+.1%}", flush=True)
    if options.write:
        write(options.write, rows)


def write(page: Path, rows: list[tuple[str, float, float]]) -> None:
    """Put the table into a page between its two marks."""
    lines = ["| run | estimated MiB | measured MiB | difference |", "|---|---|---|---|"]
    lines += [f"| {label} | {guess:.0f} | {real:.0f} | {guess / real - 1:+.1%} |" for label, guess, real in rows]
    text = page.read_text(encoding="utf-8")
    start, end = "<!-- measured -->\n", "<!-- /measured -->"
    before, _, rest = text.partition(start)
    page.write_text(before + start + "\n".join(lines) + "\n" + end + rest.partition(end)[2], encoding="utf-8")


if __name__ == "__main__":
    main()

"""The quick form: our training step against the plain padded one on a small model, by processor time; under a minute.

    python bench/quick.py [--least 1.3] [--json FILE]

Ends with status 1 when the ratio falls below `--least`, so that a regression is noticed; the figures are printed. Both
paths train the same rows in the same order, taking turns, and must end with the same losses.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from peers import environment
from processes import spend
from record import OURS, Measurement, Result, provenance
from report import lines
from rows import make_rows, write_rows

STEPS, BATCH, ROUNDS = 5, 4, 3
HERE = Path(__file__).resolve().parent


def make_model(folder: Path, vocabulary: int = 16000) -> None:
    """A small LLaMA with a vocabulary that weighs as it does in real models, and a tokenizer trained on the rows."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    backend.train_from_iterator((row["output"] for row in make_rows(300)), trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=256, intermediate_size=704, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


RUN = """
import json, sys
sys.path.insert(0, sys.argv[2])
import plugtune
from plugtune.options.reader import read_request
from plugtune.plugins.host import PluginHost
from plugtune.training.run import run_training
from stepclock import StepClock
for job, answer in json.load(open(sys.argv[1])):
    class Clock:
        @plugtune.hookimpl
        def plugtune_callbacks(self, plan):
            return [StepClock(answer)]
    host = PluginHost().load()
    host.manager.register(Clock(), name="step-clock")
    run_training(read_request([f"{k}={v}" for k, v in job.items()]), host)
"""
"""All runs one after another in one process: importing the libraries takes longer than a run."""


def run_all(folder: Path) -> dict[bool, list[dict[str, Any]]]:
    """The runs of both paths, taking turns."""
    job = {
        "model_name_or_path": str(folder / "model"), "stage": "sft", "do_train": True, "dataset": "rows",
        "dataset_dir": str(folder), "template": "chatml", "cutoff_len": 512, "disable_shuffling": True,
        "per_device_train_batch_size": BATCH, "max_steps": STEPS, "learning_rate": 1e-4, "logging_steps": 1,
        "lr_scheduler_type": "constant", "save_strategy": "no", "overwrite_output_dir": True, "bf16": False,
        "finetuning_type": "lora", "output_dir": str(folder / "out"), "disable_gradient_checkpointing": True,
    }  # fmt: skip
    turns = [(plain, folder / f"answer-{turn}-{plain}.json") for turn in range(ROUNDS) for plain in (False, True)]
    jobs = [({**job, "plain_loss": plain}, str(answer)) for plain, answer in turns]
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    env = environment(PLUGTUNE_CACHE_DIR=str(folder / "cache"), OMP_NUM_THREADS="1")
    spend([sys.executable, "-c", RUN, str(folder / "jobs.json"), str(HERE)], env)
    runs: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    for plain, answer in turns:
        runs[plain].append(json.loads(answer.read_text(encoding="utf-8")))
    return runs


def main() -> int:
    """Measure, print, and judge the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--least", type=float, default=1.3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model")
        write_rows(folder, [{k: v for k, v in row.items() if k != "history"} for row in make_rows(BATCH * STEPS)])
        runs = run_all(folder)
    seconds = {plain: [sum(r["cpu_s"][1:]) for r in side] for plain, side in runs.items()}
    apart = max(abs(a - b) for a, b in zip(runs[False][0]["losses"], runs[True][0]["losses"], strict=True))
    sides = {OURS: seconds[False], "plain padded path": seconds[True]}
    found = Measurement("SFT, LoRA, fp32, a small model", "processor seconds", "lower", sides,
                        notes=(f"losses within {apart:.1e}",))  # fmt: skip
    print("\n".join(lines(found)))
    if args.json:
        Result("quick", provenance(), (found,)).write(args.json)
    ratio = statistics.median(seconds[True]) / statistics.median(seconds[False])
    if ratio < args.least or apart > 1e-4:
        print(f"this is a regression: at least {args.least} times and losses within 1e-4 are expected", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

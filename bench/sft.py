"""Supervised fine-tuning of SmolLM2-135M against LLaMA-Factory and TRL: same tokens, same order, taking turns.

    python bench/sft.py [--rounds 2] [--steps 6] [--only lora ...] [--json FILE]

Figures: trained tokens per second of the optimizer steps (first step left out: it pays for warming up), on the wall and
of the processor, and the largest resident memory. Losses show that the sides did the same work.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from data_prep import make_rows
from peers import environment, llamafactory, smollm2

BATCH, CUTOFF = 4, 512
HERE = Path(__file__).resolve().parent

OURS = """
import json, sys
sys.path.insert(0, sys.argv[3])
from stepclock import StepClock
import plugtune
from plugtune.options.reader import read_request
from plugtune.plugins.host import PluginHost
from plugtune.training.run import run_training
class Clock:
    @plugtune.hookimpl
    def plugtune_callbacks(self, plan):
        return [StepClock(sys.argv[2])]
host = PluginHost().load()
host.manager.register(Clock(), name="step-clock")
run_training(read_request([f"{k}={v}" for k, v in json.load(open(sys.argv[1])).items()]), host)
"""

LLAMAFACTORY = """
import json, sys
sys.path.insert(0, sys.argv[3])
job, out = json.load(open(sys.argv[1])), sys.argv[2]
from stepclock import StepClock
sys.argv = sys.argv[:1]
from llamafactory.train.tuner import run_exp
run_exp(args=job, callbacks=[StepClock(out)])
"""

TRL = """
import json, sys
sys.path.insert(0, sys.argv[3])
from stepclock import StepClock
import torch
from datasets import Dataset, load_from_disk
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer
job = json.load(open(sys.argv[1]))
set_seed(42)
model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
lora = None
if job["lora"]:
    from peft import LoraConfig
    lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, task_type="CAUSAL_LM", target_modules="all-linear")
class InOrder(SFTTrainer):
    def _get_train_sampler(self, *a, **k):
        return torch.utils.data.SequentialSampler(self.train_dataset)
rows = load_from_disk(job["rows"])["train"].select_columns(["input_ids", "labels"])
settings = SFTConfig(output_dir=job["output_dir"], max_steps=job["steps"], per_device_train_batch_size=job["batch"],
    learning_rate=1e-4, lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.0, seed=42, logging_steps=1,
    save_strategy="no", report_to=[], use_cpu=True, bf16=job["bf16"], gradient_checkpointing=job["checkpointing"],
    disable_tqdm=True, max_length=job["cutoff"])
InOrder(model=model, args=settings, train_dataset=rows, peft_config=lora, callbacks=[StepClock(sys.argv[2])],
        processing_class=AutoTokenizer.from_pretrained(job["model"])).train()
"""

CASES: dict[str, dict[str, Any]] = {
    "LoRA, fp32, each side's defaults": {"lora": True, "bf16": False, "checkpointing": True},
    "LoRA, fp32, no checkpointing anywhere": {"lora": True, "bf16": False, "checkpointing": False},
    "LoRA, bf16, each side's defaults": {"lora": True, "bf16": True, "checkpointing": True},
    "full, fp32, each side's defaults": {"lora": False, "bf16": False, "checkpointing": True},
}
"""Case → how the peers run; plugtune always chooses checkpointing by itself."""


class Bench:
    """Prepares one set of rows and runs each side on it.

    Args:
        folder: a folder of its own.
        steps: optimizer steps of a run.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.steps, self.model = folder, steps, smollm2()
        data = folder / "data"
        data.mkdir(parents=True)
        (data / "rows.json").write_text(json.dumps(make_rows(BATCH * steps), ensure_ascii=False), encoding="utf-8")
        columns = {"prompt": "instruction", "query": "input", "response": "output", "history": "history"}
        (data / "dataset_info.json").write_text(
            json.dumps({"rows": {"file_name": "rows.json", "columns": columns}}), encoding="utf-8"
        )
        self.shared = {
            "model_name_or_path": str(self.model), "stage": "sft", "do_train": True, "dataset": "rows",
            "dataset_dir": str(data), "template": "smollm2", "cutoff_len": CUTOFF, "disable_shuffling": True,
            "per_device_train_batch_size": BATCH, "max_steps": steps, "learning_rate": 1e-4, "weight_decay": 0.0,
            "lr_scheduler_type": "constant", "seed": 42, "logging_steps": 1, "save_strategy": "no",
            "report_to": "none", "overwrite_output_dir": True, "output_dir": str(folder / "out"),
        }  # fmt: skip

    def _run(self, python: str, code: str, job: dict[str, Any]) -> dict[str, Any]:
        path, answer = self.folder / "job.json", self.folder / "answer.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        answer.unlink(missing_ok=True)
        env = environment(PLUGTUNE_CACHE_DIR=str(self.folder / "cache"), HF_DATASETS_CACHE=str(self.folder / "hf"))
        done = subprocess.run(
            [python, "-c", code, str(path), str(answer), str(HERE)], env=env, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode or not answer.is_file():
            raise RuntimeError(f"a side failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
        return dict(json.loads(answer.read_text(encoding="utf-8")))

    def ours(self, case: dict[str, Any]) -> dict[str, Any]:
        """plugtune; the rows it prepares are kept for TRL."""
        method = {"finetuning_type": "lora"} if case["lora"] else {"finetuning_type": "full"}
        job = {**self.shared, **method, "bf16": case["bf16"], "tokenized_path": str(self.folder / "tokens")}
        return self._run(sys.executable, OURS, job)

    def llamafactory(self, case: dict[str, Any]) -> dict[str, Any]:
        """LLaMA-Factory."""
        method = {"finetuning_type": "lora", "lora_target": "all"} if case["lora"] else {"finetuning_type": "full"}
        more = {"bf16": True, "use_cpu": True} if case["bf16"] else {}
        more["disable_gradient_checkpointing"] = not case["checkpointing"]
        return self._run(llamafactory(), LLAMAFACTORY, {**self.shared, **method, **more})

    def trl(self, case: dict[str, Any]) -> dict[str, Any]:
        """TRL on the very token rows that plugtune trained on."""
        job = {"model": str(self.model), "rows": str(self.folder / "tokens"), "steps": self.steps, "batch": BATCH,
               "cutoff": CUTOFF, "output_dir": str(self.folder / "out-trl"), **case}  # fmt: skip
        return self._run(sys.executable, TRL, job)

    def trained_tokens(self) -> list[int]:
        """Trained tokens of each step."""
        from datasets import load_from_disk

        labels = load_from_disk(str(self.folder / "tokens"))["train"]["labels"]
        counts = [sum(t != -100 for t in row[1:]) for row in labels]
        return [sum(counts[i : i + BATCH]) for i in range(0, len(counts), BATCH)]


def speed(runs: list[dict[str, Any]], tokens: list[int], clock: str) -> float:
    """Median over runs of trained tokens per second, the first step left out."""
    return statistics.median(sum(tokens[1:]) / sum(run[clock][1:]) for run in runs)


def compare(bench: Bench, name: str, rounds: int) -> dict[str, Any]:
    """One case: the sides in turns."""
    case, sides = CASES[name], ("ours", "llamafactory", "trl")
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            runs[side].append(getattr(bench, side)(case))
    tokens = bench.trained_tokens()
    figures = {
        side: {
            "tokens_per_s": speed(runs[side], tokens, "wall_s"), "tokens_per_cpu_s": speed(runs[side], tokens, "cpu_s"),
            "peak_mb": statistics.median(run["peak_mb"] for run in runs[side]), "losses": runs[side][0]["losses"],
            "spread": [sum(run["cpu_s"][1:]) for run in runs[side]], "checkpointing": runs[side][0]["checkpointing"],
        }
        for side in sides
    }  # fmt: skip
    for side in sides:
        figures[side]["ratio"] = figures["ours"]["tokens_per_s"] / figures[side]["tokens_per_s"]
        figures[side]["cpu_ratio"] = figures["ours"]["tokens_per_cpu_s"] / figures[side]["tokens_per_cpu_s"]
        apart = max(abs(a - b) for a, b in zip(figures[side]["losses"], figures["ours"]["losses"], strict=True))
        print(f"{name:40} {side:13} {figures[side]['tokens_per_s']:7.1f} tokens/s  x{figures[side]['ratio']:.2f} "
              f"(cpu x{figures[side]['cpu_ratio']:.2f})  {figures[side]['peak_mb']:6.0f} MB  losses within {apart:.1e}",
              flush=True)  # fmt: skip
    return figures


def main() -> None:
    """Measure and print; `--json FILE` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), args.steps)
        figures = {name: compare(bench, name, args.rounds) for name in args.only}
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

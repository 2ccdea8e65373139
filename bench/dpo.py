"""One DPO step here and in trl, on the same tokens and weights: process CPU seconds, interleaved, and their ratio.

    python bench/dpo.py MODEL_FOLDER [--prompt 96 --answer 32 --pairs 1 --rounds 3 --threads 1]

The model gets a LoRA adapter on all linear layers; the reference is the base under it. trl is measured as it comes
(policy and reference in every step) and with its reference log-probabilities computed before; here they always are,
and what that costs is printed too. Gradients are compared first, so both compute the same.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]


def rows_of(count: int, prompt: int, answer: int, vocabulary: int) -> list[dict[str, list[int]]]:
    """Random token rows; the answers differ in length by a quarter, as real ones do."""
    draw = random.Random(0)

    def ids(length: int) -> list[int]:
        return [draw.randrange(10, vocabulary) for _ in range(length)]

    sizes = [(answer, max(answer - answer // 4, 1)) for _ in range(count)]
    return [{"prompt_ids": ids(prompt), "chosen_ids": ids(a), "rejected_ids": ids(b)} for a, b in sizes]


def our_trainer(model: str, folder: str) -> Any:
    """The trainer of stage dpo as a run builds it."""
    from plugtune.options.reader import read_request
    from plugtune.plugins.host import PluginHost
    from plugtune.training.run import _make_trainer, prepare_rows, start

    flags = ["--stage", "dpo", "--do_train", "--model_name_or_path", model, "--dataset", "preferences", "--dataset_dir",
             str(ROOT / "data"), "--output_dir", folder, "--bf16", "false", "--max_samples", "2", "--use_cpu", "true",
             "--template", "chatml"]  # fmt: skip
    run = start(read_request(flags), PluginHost().load())
    prepare_rows(run)
    return _make_trainer(run)


def trl_trainer(model: str, folder: str, rows: list[dict[str, Any]], tokenizer: Any, *, precompute: bool) -> Any:
    """trl's trainer over token rows."""
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM

    class OverTokens(trl.DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset

    arguments = trl.DPOConfig(
        output_dir=folder, per_device_train_batch_size=len(rows), bf16=False, gradient_checkpointing=False,
        use_cpu=True, report_to="none", precompute_ref_log_probs=precompute,
    )  # fmt: skip
    adapter = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear")
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    data = Dataset.from_list(rows)
    return OverTokens(model=base, args=arguments, train_dataset=data, processing_class=tokenizer, peft_config=adapter)


def stepper(trainer: Any, rows: list[dict[str, Any]]) -> Callable[[], float]:
    """Forward and backward of one step; gives the norm of the gradients."""
    batch = trainer.data_collator(rows)
    trainer.current_gradient_accumulation_steps = 1
    trainer.create_optimizer()
    trainer.model.train()

    def step() -> float:
        trainer.model.zero_grad()
        trainer.training_step(trainer.model, dict(batch))
        return float(sum(p.grad.norm() ** 2 for p in trainer.model.parameters() if p.grad is not None)) ** 0.5

    return step


def cpu_seconds(work: Callable[[], Any]) -> float:
    """Process CPU time of a call."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    for name, default in (("prompt", 96), ("answer", 32), ("pairs", 1), ("rounds", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        ours = our_trainer(args.model, f"{folder}/ours")
        vocabulary = ours.model.config.vocab_size
        rows = rows_of(args.pairs, args.prompt, args.answer, vocabulary)
        tokenizer = ours.processing_class
        theirs = trl_trainer(args.model, f"{folder}/trl", rows, tokenizer, precompute=False)
        before = trl_trainer(args.model, f"{folder}/before", rows, tokenizer, precompute=True)
    same = {name: p for name, p in ours.model.named_parameters() if p.requires_grad}
    for other in (theirs, before):
        other.model.load_state_dict(same, strict=False)
    numbers: list[list[float]] = []
    reference = cpu_seconds(lambda: numbers.extend(_reference(ours, rows)))
    known = [{**row, "reference": pair} for row, pair in zip(rows, numbers, strict=True)]
    steps = {
        "plugtune": stepper(ours, known),
        "trl": stepper(theirs, rows),
        "trl, reference before": stepper(before, [before.train_dataset[i] for i in range(len(rows))]),
    }
    norms = {name: step() for name, step in steps.items()}  # warms up, too
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            times[name].append(cpu_seconds(step))
    base = statistics.median(times["plugtune"])
    sizes = f"{args.pairs} pairs, prompt {args.prompt}, answers {args.answer}"
    print(f"{sizes}, {args.threads} threads, median of {args.rounds}")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:24} {median:7.3f} cpu s per step   {median / base:5.2f}x   gradient norm {norms[name]:.6f}")
    print(f"reference, once          {reference:7.3f} cpu s; over three epochs "
          f"{statistics.median(times['trl']) / (base + reference / 3):.2f}x against trl")  # fmt: skip


def _reference(trainer: Any, rows: list[dict[str, Any]]) -> list[list[float]]:
    from plugtune.training.reference import before_training

    with before_training(trainer.context) as model, torch.no_grad():
        return trainer._logps(model, trainer.data_collator(rows)).tolist()  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()

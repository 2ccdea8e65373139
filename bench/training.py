"""Training SmolLM2-135M against LLaMA-Factory and TRL: same tokens, same order, same start, taking turns.

    python bench/training.py [sft dpo rm kto] [--rounds 2] [--steps 3] [--only WORDS ...] [--json FILE]

Each side is a process of its own. Figures: tokens per second of the optimizer steps, the first one left out because it
pays for warming up; on the wall and of the processor; the largest resident memory; and the time from the start of the
process to its first step. Losses show that the sides did the same work.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rows
import sides
from peers import environment, llamafactory, smollm2
from record import OURS, Measurement, Result, provenance

CUTOFF = 512
HERE = Path(__file__).resolve().parent
LF, TRL, BASELINE = "LLaMA-Factory", "trl", "import transformers + weights"


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison. `checkpointing` None leaves it to each side; `start` also measures the time to the first step."""

    stage: str
    words: str
    lora: bool = True
    bf16: bool = False
    checkpointing: bool | None = None
    rounds: int = 2
    start: bool = False

    @property
    def title(self) -> str:
        """What is compared, in words."""
        return f"{self.stage.upper()}, {self.words}"

    @property
    def batch(self) -> int:
        """Rows of a step; a pair is one row of two answers."""
        return {"sft": 4, "dpo": 2, "rm": 2, "kto": 4}[self.stage]


CASES = (
    Case("sft", "LoRA, fp32, each side's defaults", start=True),
    Case("sft", "LoRA, fp32, no checkpointing anywhere", checkpointing=False),
    Case("sft", "LoRA, fp32, checkpointing everywhere", checkpointing=True),
    Case("sft", "LoRA, bf16, each side's defaults", bf16=True),
    Case("sft", "full, fp32, each side's defaults", lora=False),
    Case("dpo", "LoRA, fp32, each side's defaults"),
    Case("rm", "LoRA, fp32, each side's defaults"),
    Case("kto", "LoRA, fp32, each side's defaults"),
)
COUNTED = {
    "sft": "trained tokens", "dpo": "answers' tokens", "rm": "tokens of both sequences", "kto": "answers' tokens",
}  # fmt: skip


class Sides:
    """Prepares one set of rows for a stage and runs each side on it.

    Args:
        folder: a folder of its own.
        stage: the stage.
        batch: rows of a step.
        steps: optimizer steps of a run; the rows are exactly one epoch.
    """

    def __init__(self, folder: Path, stage: str, batch: int, steps: int) -> None:
        self.folder, self.stage, self.batch, self.steps, self.model = folder, stage, batch, steps, smollm2()
        count, data = batch * steps, folder / "data"
        if stage == "sft":
            rows.write_rows(data, rows.instructions(count))
        elif stage == "kto":
            rows.write_rows(data, rows.judged(count), rows.JUDGED)
        else:
            rows.write_rows(data, rows.pairs(count), rows.PAIRS, ranking=True)
        self.shared = {
            "model_name_or_path": str(self.model), "stage": stage, "do_train": True, "dataset": "rows",
            "dataset_dir": str(data), "template": "smollm2", "cutoff_len": CUTOFF, "disable_shuffling": True,
            "per_device_train_batch_size": batch, "max_steps": steps, "learning_rate": 1e-4, "weight_decay": 0.0,
            "lr_scheduler_type": "constant", "seed": 42, "logging_steps": 1, "save_strategy": "no",
            "report_to": "none", "overwrite_output_dir": True, "output_dir": str(folder / "out"),
        }  # fmt: skip

    def run(self, side: str, case: Case) -> dict[str, Any]:
        """One run of a side."""
        makers = {OURS: self._ours, LF: self._llamafactory, TRL: self._trl, BASELINE: self._baseline}
        return self._run(*makers[side](case))

    def _run(self, python: str, code: str, job: dict[str, Any]) -> dict[str, Any]:
        path, answer = self.folder / "job.json", self.folder / "answer.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        answer.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "cache" / "reference", ignore_errors=True)  # each round pays for its own
        env = environment(PLUGTUNE_CACHE_DIR=str(self.folder / "cache"), HF_DATASETS_CACHE=str(self.folder / "hf"))
        command = [python, "-c", code, str(path), str(answer), str(HERE)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode or not answer.is_file():
            raise RuntimeError(f"a side failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
        return dict(json.loads(answer.read_text(encoding="utf-8")))

    def _ours(self, case: Case) -> tuple[str, str, dict[str, Any]]:
        more: dict[str, Any] = {} if case.checkpointing is None else {"gradient_checkpointing": case.checkpointing}
        if case.checkpointing is False:
            more["disable_gradient_checkpointing"] = True
        job = {**self.shared, **more, "finetuning_type": "lora" if case.lora else "full", "bf16": case.bf16}
        return sys.executable, sides.OURS, {**job, "tokenized_path": str(self.folder / "tokens")}

    def _llamafactory(self, case: Case) -> tuple[str, str, dict[str, Any]]:
        method = {"finetuning_type": "lora", "lora_target": "all"} if case.lora else {"finetuning_type": "full"}
        more: dict[str, Any] = {"bf16": True, "use_cpu": True} if case.bf16 else {}
        if case.checkpointing is not None:
            more["disable_gradient_checkpointing"] = not case.checkpointing
        return llamafactory(), sides.LLAMAFACTORY, {**self.shared, **method, **more}

    def _trl(self, case: Case) -> tuple[str, str, dict[str, Any]]:
        job = {"model": str(self.model), "rows": str(self.folder / "tokens"), "steps": self.steps, "cutoff": CUTOFF,
               "output_dir": str(self.folder / "out-trl"), "stage": case.stage, "batch": self.batch,
               "lora": case.lora, "bf16": case.bf16, "checkpointing": case.checkpointing}  # fmt: skip
        return sys.executable, sides.TRL, job

    def _baseline(self, case: Case) -> tuple[str, str, dict[str, Any]]:
        return sys.executable, sides.BASELINE, self.shared

    def tokens(self) -> list[int]:
        """The counted tokens of each step."""
        from datasets import load_from_disk

        counts = [_counted(row) for row in load_from_disk(str(self.folder / "tokens"))["train"]]
        return [sum(counts[i : i + self.batch]) for i in range(0, len(counts), self.batch)]


def _counted(row: dict[str, Any]) -> int:
    if "labels" in row:
        return sum(label != -100 for label in row["labels"][1:])
    if "answer_ids" in row:
        return len(row["answer_ids"])
    return len(row["chosen_ids"]) + len(row["rejected_ids"])


def compare(bench: Sides, case: Case, rounds: int | None) -> list[Measurement]:
    """One case: the sides in turns."""
    names = [OURS, LF, TRL, *([BASELINE] if case.start else [])]
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in names}
    if case.start:
        bench.run(BASELINE, case)  # thrown away: no side pays for reading its libraries from the disk
    for _ in range(rounds or case.rounds):
        for side in names:
            runs[side].append(bench.run(side, case))
            print(f"{case.title}: {side} ran", file=sys.stderr, flush=True)
    starts = {side: [run["first_step_s"] for run in found] for side, found in runs.items()}
    runs.pop(BASELINE, None)
    return [*speeds(case, runs, bench.tokens()), *(first_step(starts) if case.start else [])]


def speeds(case: Case, runs: dict[str, list[dict[str, Any]]], tokens: list[int]) -> list[Measurement]:
    """Tokens per second on the wall and of the processor, and both with the reference pass where there is one."""

    def speed(run: dict[str, Any], clock: str, reference: bool) -> float:
        share = sum(tokens[1:]) / sum(tokens)
        before = run.get(f"reference_{clock}", 0.0) * share if reference else 0.0
        return sum(tokens[1:]) / (sum(run[clock][1:]) + before)

    peaks = {side: [run["peak_mb"] for run in found] for side, found in runs.items()}
    notes = (*losses(runs), "checkpointing: " + ", ".join(
        f"{side} {'on' if found[0]['checkpointing'] else 'off'}" for side, found in runs.items()
    ))  # fmt: skip
    counted = COUNTED[case.stage]
    referenced = any(run.get("reference_wall_s") for run in runs[OURS])
    found = []
    for reference in (False, True) if referenced else (False,):
        words = ", reference pass over one epoch included" if reference else ", steps alone" if referenced else ""
        for clock, unit in (("wall_s", "second"), ("cpu_s", "processor second")):
            values = {side: [speed(run, clock, reference) for run in every] for side, every in runs.items()}
            found.append(Measurement(f"{case.title}{words}", f"{counted} a {unit}", "higher", values, peaks, notes))
    return found


def losses(runs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """How far each side's losses are from ours."""
    ours = runs[OURS][0]["losses"]
    return [
        f"losses of {side} within {max(abs(a - b) for a, b in zip(found[0]['losses'], ours, strict=True)):.1e}"
        for side, found in runs.items()
        if side != OURS
    ]


def first_step(starts: dict[str, list[list[float]]]) -> list[Measurement]:
    """Seconds from the start of the process to the first optimizer step."""
    return [
        Measurement(
            "Start of the process to the first step (SFT, LoRA)", unit, "lower",
            {side: [run[at] for run in found] for side, found in starts.items()},
            notes=("rows are prepared by LLaMA-Factory each time, by plugtune in the first round only",),
        )
        for at, unit in ((0, "seconds"), (1, "processor seconds"))
    ]  # fmt: skip


def main() -> None:
    """Measure and print; `--json FILE` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", default=["sft", "dpo", "rm", "kto"], metavar="STAGE")
    parser.add_argument("--rounds", type=int, help="rounds of every case, instead of each case's own number")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="cases whose title holds all of these words")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    cases = [c for c in CASES if c.stage in args.stages and all(word in c.title for word in args.only)]
    if not cases:
        parser.error("no case has these words: " + "; ".join(case.title for case in CASES))
    found: list[Measurement] = []
    for stage in dict.fromkeys(case.stage for case in cases):
        with tempfile.TemporaryDirectory() as folder:
            bench = Sides(Path(folder), stage, next(c.batch for c in cases if c.stage == stage), args.steps)
            for case in (c for c in cases if c.stage == stage):
                found += compare(bench, case, args.rounds)
                if args.json:  # a case that fails does not lose those before it
                    Result("training", provenance({LF: llamafactory()}), tuple(found)).write(args.json)
    from report import lines

    for measurement in found:
        print("\n".join(lines(measurement)), flush=True)


if __name__ == "__main__":
    main()

"""Data preparation: an alpaca file → cached token rows, this project against LLaMA-Factory.

    python bench/data_prep.py [--rows 20000] [--rounds 3] [--json FILE]
    python bench/data_prep.py --flat 10000 200000 2000000 [--json FILE]     (ours alone: does memory grow?)
    python bench/data_prep.py --kill 100000 [--json FILE]                   (ours alone: killed halfway, then again)

Every figure is of a process of its own with an empty cache, the sides taking turns. What is timed is the step from the
file to the token rows (`prepare` here, `get_dataset` there); imports and the tokenizer's loading are not part of it.
Memory is the largest sum of PSS over the process and its workers, so that shared pages count once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from peers import environment, llamafactory, smollm2
from processes import spend
from record import OURS, Curve, Measurement, Result, provenance
from report import curve_lines, lines
from rows import instructions, write_rows

TEMPLATE, CUTOFF = "qwen", 2048
ONE, TWO = "LLaMA-Factory", "LLaMA-Factory, 2 workers"

OUR_SIDE = """
import array, hashlib, json, sys, time
start = time.perf_counter()
from pathlib import Path
from plugtune.options.reader import read_request
from plugtune.plugins.host import PluginHost
from plugtune.training import run as runs
from plugtune.data import pipeline
job, out = json.load(open(sys.argv[1])), sys.argv[2]
host, spent = PluginHost().load(), []
prepare = pipeline.prepare
def timed(*args, **named):
    begin = time.perf_counter()
    try:
        return prepare(*args, **named)
    finally:
        spent.append(time.perf_counter() - begin)
pipeline.prepare = timed
run = runs.start(read_request([f"{k}={v}" for k, v in job["options"].items()]), host)
runs.prepare_rows(run)
answer = {"prepare_s": spent[0], "whole_s": time.perf_counter() - start, "cached": run.rows.report.sets[0]["cached"]}
rows = run.rows.train
"""

PEER = """
import array, hashlib, json, sys, time
start = time.perf_counter()
job, out = json.load(open(sys.argv[1])), sys.argv[2]
sys.argv = sys.argv[:1]
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
model, data, training, finetuning, _ = get_train_args(job["options"])
module = load_tokenizer(model)
template = get_template_and_fix_tokenizer(module["tokenizer"], data)
begin = time.perf_counter()
rows = get_dataset(template, model, data, training, stage="sft", **module)["train_dataset"]
answer = {"prepare_s": time.perf_counter() - begin, "whole_s": time.perf_counter() - start}
"""

COUNT = """
json.dump(answer | {"rows": len(rows)}, open(out, "w"))
"""

# Both sides of a comparison end with the same proof that the same work was done.
PROOF = """
digest, count = hashlib.sha256(), 0
for name in ("input_ids", "labels"):
    for at in range(0, len(rows), 1000):
        for ids in rows[at : at + 1000][name]:
            digest.update(array.array("i", ids).tobytes())
            count += len(ids)
answer |= {"rows": len(rows), "tokens": count // 2, "digest": digest.hexdigest()}
json.dump(answer, open(out, "w"))
"""


class Bench:
    """Runs both sides on sets in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model = folder, smollm2()

    def _prepared(self, python: str, code: str, options: dict[str, Any], cache: Path) -> tuple[list[str], Any]:
        job = self.folder / "job.json"
        job.write_text(json.dumps({"options": options}), encoding="utf-8")
        env = environment(PLUGTUNE_CACHE_DIR=str(cache), HF_DATASETS_CACHE=str(cache))
        for name in ("TOKENIZERS_PARALLELISM", "OMP_NUM_THREADS"):  # each side decides for itself
            env.pop(name, None)
        return [python, "-c", code, str(job), str(self.folder / "answer.json")], env

    def _run(self, *how: Any) -> dict[str, Any]:
        command, env = self._prepared(*how)
        spent = spend(command, env, tree=True)
        return {
            **json.loads((self.folder / "answer.json").read_text()),
            "peak_mb": spent.tree_mb,
            "own_mb": spent.own_mb,
        }

    def ours(self, data: Path, cache: Path, proof: str = PROOF, **more: Any) -> dict[str, Any]:
        """This project, as `plugtune train` prepares rows."""
        return self._run(sys.executable, OUR_SIDE + proof, {**self._options(data), **more}, cache)

    def theirs(self, data: Path, cache: Path, workers: int | None) -> dict[str, Any]:
        """The peer."""
        options = {
            **self._options(data), "report_to": "none", "overwrite_output_dir": True,
            **({"preprocessing_num_workers": workers} if workers else {}),
        }  # fmt: skip
        return self._run(llamafactory(), PEER + PROOF, options, cache)

    def killed(self, data: Path, cache: Path) -> int:
        """Start ours and kill all of it when a second shard is whole; the number of whole shards left."""
        command, env = self._prepared(sys.executable, OUR_SIDE + COUNT, self._options(data), cache)
        with subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            while process.poll() is None and len(list(cache.rglob("rows-*.json"))) < 2:
                time.sleep(0.02)
            if process.poll() is not None:
                raise RuntimeError("the preparation ended before it could be killed: give more rows")
            os.killpg(process.pid, signal.SIGKILL)
        return len(list(cache.rglob("rows-*.json")))

    def _options(self, data: Path) -> dict[str, Any]:
        return {
            "model_name_or_path": str(self.model), "stage": "sft", "do_train": True, "finetuning_type": "lora",
            "dataset": "rows", "dataset_dir": str(data), "template": TEMPLATE, "cutoff_len": CUTOFF,
            "output_dir": str(self.folder / "out"),
        }  # fmt: skip


def compare(bench: Bench, count: int, rounds: int) -> list[Measurement]:
    """The sides in turns, then ours once more with another learning rate."""
    data = bench.folder / "data"
    write_rows(data, instructions(count))
    calls = {
        OURS: lambda cache: bench.ours(data, cache), ONE: lambda cache: bench.theirs(data, cache, None),
        TWO: lambda cache: bench.theirs(data, cache, 2),
    }  # fmt: skip
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in calls}
    for turn in range(rounds):
        for number, (side, call) in enumerate(calls.items()):
            runs[side].append(call(bench.folder / f"cache-{turn}-{number}"))
            print(f"{side} ran", file=sys.stderr, flush=True)
    again = [bench.ours(data, bench.folder / "cache-0-0", learning_rate=0.5) for _ in range(rounds)]
    digests = {run["digest"] for every in [*runs.values(), again] for run in every}
    tokens = runs[OURS][0]["tokens"]
    notes = (f"{count:,} rows, {tokens:,} tokens",
             f"token ids and labels the same on all sides: {'yes' if len(digests) == 1 else 'NO'}")  # fmt: skip
    peaks = {side: [run["peak_mb"] for run in every] for side, every in runs.items()}
    fresh = {side: [run["prepare_s"] for run in every] for side, every in runs.items()}
    cached = {
        "rows from the cache": [run["prepare_s"] for run in again],
        "whole process, imports included": [run["whole_s"] for run in again],
    }
    kept = "everything came from the cache" if all(run["cached"] for run in again) else "NOT from the cache"
    return [
        Measurement("From the file to cached tokens", "seconds", "lower", fresh, peaks, notes),
        Measurement("The same rows with another learning rate", "seconds", "lower", cached, notes=(kept,)),
    ]


def flat(bench: Bench, counts: list[int]) -> list[Curve]:
    """Memory and speed of ours by number of rows."""
    memory, own, speed = [], [], []
    for count in counts:
        data = bench.folder / f"data-{count}"
        write_rows(data, instructions(count))
        run = bench.ours(data, bench.folder / f"cache-{count}", COUNT)
        if run["rows"] != count:
            raise RuntimeError(f"{run['rows']} of {count} rows were prepared")
        memory.append((float(count), run["peak_mb"]))
        own.append((float(count), run["own_mb"]))
        speed.append((float(count), count / run["prepare_s"]))
        for folder in (data, bench.folder / f"cache-{count}"):
            subprocess.run(["rm", "-rf", str(folder)], check=True)
        print(
            f"{count:,} rows: {run['prepare_s']:.1f} s, {run['peak_mb']:.0f} MB, own {run['own_mb']:.0f} MB",
            file=sys.stderr,
            flush=True,
        )
    note = "pages of mapped files count while they are in memory; the system drops them when it needs the room"
    lines_of_memory = {OURS: memory, f"{OURS}, without pages of files": own}
    return [
        Curve("Memory of data preparation", "rows", "peak MB (PSS of all processes)", lines_of_memory, (note,)),
        Curve("Speed of data preparation", "rows", "rows a second", {OURS: speed}),
    ]


def go_on(bench: Bench, count: int) -> list[Measurement]:
    """An uninterrupted preparation, and one that is killed and started again."""
    data = bench.folder / "data"
    write_rows(data, instructions(count))
    whole = bench.ours(data, bench.folder / "whole")
    shards = bench.killed(data, bench.folder / "killed")
    rest = bench.ours(data, bench.folder / "killed")
    same = "yes" if rest["digest"] == whole["digest"] else "NO"
    sides = {"uninterrupted": [whole["prepare_s"]], "after the kill": [rest["prepare_s"]]}
    notes = (f"{count:,} rows", f"killed (SIGKILL) with {shards} shards whole", f"the same rows in the end: {same}")
    return [Measurement("Going on after a kill", "seconds", "lower", sides, notes=notes)]


def main() -> None:
    """Measure and print; `--json FILE` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flat", type=int, nargs="+", metavar="ROWS")
    parser.add_argument("--kill", type=int, metavar="ROWS")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    measurements: list[Measurement] = []
    curves: list[Curve] = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        if args.flat:
            curves = flat(bench, args.flat)
        elif args.kill:
            measurements = go_on(bench, args.kill)
        else:
            measurements = compare(bench, args.rows, args.rounds)
    print("\n".join([line for m in measurements for line in lines(m)] + [x for c in curves for x in curve_lines(c)]))
    if args.json:
        peers = {"LLaMA-Factory": llamafactory()} if not (args.flat or args.kill) else {}
        Result("data_prep", provenance(peers), tuple(measurements), tuple(curves)).write(args.json)


if __name__ == "__main__":
    main()

"""Data preparation: an alpaca file → cached token rows, this project against LLaMA-Factory,.

    python bench/data_prep.py --model DIR --peer-python PEER_VENV/bin/python [--rounds 3] [--json FILE]
    python bench/data_prep.py --model DIR --flat        (memory over 10,000 and 200,000 rows, no peer)

Every figure is of a process of its own with an empty cache, the sides taking turns. What is timed is the step from the
file to the token rows (`prepare` here, `get_dataset` there); imports and the tokenizer's loading are not part of it.
Memory is the largest sum of PSS over the process and its workers, so that shared pages count once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

SEED, TEMPLATE, CUTOFF = 0, "qwen", 2048

OURS = """
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

# Both end with the same proof that the same work was done.
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


def make_rows(count: int) -> list[dict[str, Any]]:
    """Rows of invented words with the frequencies of a language, a tenth of them Chinese and a tenth with history."""
    rnd = random.Random(SEED)
    syllables = [
        a + b for a in "b c d f g l m n p r s t v w st tr th pl".split() for b in "a e i o u ea ou er in".split()
    ]
    words = ["".join(rnd.choices(syllables, k=rnd.choice((1, 1, 2, 2, 3)))) for _ in range(6000)]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    signs = [chr(rnd.randint(0x4E00, 0x9FA5)) for _ in range(1500)]

    def text(low: int, high: int, chinese: bool) -> str:
        parts = rnd.choices(signs, k=rnd.randint(low, high)) if chinese else []
        parts = parts or rnd.choices(words, weights, k=rnd.randint(low, high))
        body = "".join(parts) if chinese else " ".join(parts)
        stop = "。" if chinese else ". "
        step = rnd.randint(40, 90)
        return stop.join(body[at : at + step] for at in range(0, len(body), step)) + stop.strip()

    rows = []
    for number in range(count):
        chinese = number % 10 == 3
        row: dict[str, Any] = {
            "instruction": f"{text(6, 25, chinese)} ({number})",
            "input": text(20, 80, chinese) if rnd.random() < 0.4 else "",
            "output": "\n\n".join(text(10, 60, chinese) for _ in range(rnd.randint(1, 4))),
        }
        if rnd.random() < 0.1:
            row["history"] = [[text(5, 20, chinese), text(10, 50, chinese)]]
        rows.append(row)
    return rows


def write_set(folder: Path, count: int) -> None:
    """The data file and the registry entry that both sides read."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.json").write_text(json.dumps(make_rows(count), ensure_ascii=False, indent=1), encoding="utf-8")
    columns = {"prompt": "instruction", "query": "input", "response": "output", "history": "history"}
    entry = {"rows": {"file_name": "rows.json", "columns": columns}}
    (folder / "dataset_info.json").write_text(json.dumps(entry), encoding="utf-8")


def measured(command: list[str], env: dict[str, str]) -> float:
    """Run a process to its end; the largest memory (MB of PSS) of it and its children."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        peak, done = [0], threading.Event()

        def watch() -> None:
            while not done.wait(0.1):
                peak[0] = max(peak[0], sum(_pss(pid) for pid in _tree(process.pid)))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = process.wait()
        done.set()
        watcher.join()
        if status:
            log.seek(0)
            raise RuntimeError(f"{command[0]} ended with {status}:\n{log.read()[-2000:].decode(errors='replace')}")
    return peak[0] / 1024


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                found += map(int, Path(f"/proc/{parent}/task/{task}/children").read_text().split())
        except OSError:
            continue
    return found


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


class Bench:
    """Runs both sides on sets in a folder of its own."""

    def __init__(self, folder: Path, model: str, peer: str) -> None:
        self.folder, self.model, self.peer = folder, model, peer

    def _run(self, python: str, code: str, options: dict[str, Any], cache: Path) -> dict[str, Any]:
        job, answer = self.folder / "job.json", self.folder / "answer.json"
        job.write_text(json.dumps({"options": options}), encoding="utf-8")
        env = {
            **os.environ, "PLUGTUNE_CACHE_DIR": str(cache), "HF_DATASETS_CACHE": str(cache), "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "", "HF_DATASETS_OFFLINE": "1", "WANDB_DISABLED": "true",
        }  # fmt: skip
        env.pop("TOKENIZERS_PARALLELISM", None)  # each side decides for itself
        peak = measured([python, "-c", code + PROOF, str(job), str(answer)], env)
        return {**json.loads(answer.read_text()), "peak_mb": peak}

    def ours(self, data: Path, cache: Path, **more: Any) -> dict[str, Any]:
        """This project, as `plugtune train` prepares rows."""
        return self._run(sys.executable, OURS, {**self._options(data), **more}, cache)

    def theirs(self, data: Path, cache: Path, workers: int | None) -> dict[str, Any]:
        """The peer."""
        options = {
            **self._options(data), "report_to": "none", "overwrite_output_dir": True,
            **({"preprocessing_num_workers": workers} if workers else {}),
        }  # fmt: skip
        return self._run(self.peer, PEER, options, cache)

    def _options(self, data: Path) -> dict[str, Any]:
        return {
            "model_name_or_path": self.model, "stage": "sft", "do_train": True, "finetuning_type": "lora",
            "dataset": "rows", "dataset_dir": str(data), "template": TEMPLATE, "cutoff_len": CUTOFF,
            "output_dir": str(self.folder / "out"),
        }  # fmt: skip


def compare(bench: Bench, count: int, rounds: int) -> dict[str, Any]:
    """The sides in turns; medians and ratios."""
    data = bench.folder / "data"
    write_set(data, count)
    runs: dict[str, list[dict[str, Any]]] = {"plugtune": [], "peer, default": [], "peer, 2 workers": []}
    for turn in range(rounds):
        for name, call in (
            ("plugtune", lambda cache: bench.ours(data, cache)),
            ("peer, default", lambda cache: bench.theirs(data, cache, None)),
            ("peer, 2 workers", lambda cache: bench.theirs(data, cache, 2)),
        ):
            result = call(bench.folder / f"cache-{turn}-{len(name)}")
            runs[name].append(result)
            print(f"{name:16} {result['prepare_s']:7.2f} s  whole process {result['whole_s']:7.2f} s  "
                  f"{result['peak_mb']:7.0f} MB  {result['tokens']:,} tokens", flush=True)  # fmt: skip
    again = bench.ours(data, bench.folder / f"cache-0-{len('plugtune')}", learning_rate=0.5)
    print(f"plugtune, another learning rate: {again['prepare_s']:.3f} s, from the cache: {again['cached']}")
    same = {run["digest"] for side in runs.values() for run in side} == {again["digest"]}
    median = {
        name: {key: statistics.median(run[key] for run in side) for key in ("prepare_s", "whole_s", "peak_mb")}
        for name, side in runs.items()
    }
    ratios = {name: median[name]["prepare_s"] / median["plugtune"]["prepare_s"] for name in median}
    print(f"token ids and labels the same on all sides: {same}")
    for name in ("peer, default", "peer, 2 workers"):
        print(f"{name}: {ratios[name]:.2f} times our time, {median[name]['peak_mb']:.0f} MB to our "
              f"{median['plugtune']['peak_mb']:.0f} MB")  # fmt: skip
    return {"rows": count, "median": median, "ratios": ratios, "same_tokens": same, "cached_s": again["prepare_s"]}


def flat(bench: Bench, counts: tuple[int, ...] = (10_000, 200_000)) -> dict[str, Any]:
    """Memory of ours by number of rows."""
    found = {}
    for count in counts:
        data = bench.folder / f"data-{count}"
        write_set(data, count)
        result = bench.ours(data, bench.folder / f"cache-{count}")
        found[str(count)] = result
        print(f"{count:8} rows: {result['prepare_s']:7.2f} s, {result['peak_mb']:.0f} MB", flush=True)
    return found


def main() -> None:
    """Measure and print; `--json FILE` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a model with a fast tokenizer")
    parser.add_argument("--peer-python", default="", help="python of an environment with LLaMA-Factory")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--flat", action="store_true", help="measure memory over 10,000 and 200,000 rows instead")
    parser.add_argument("--json", help="file for the figures")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), args.model, args.peer_python)
        figures = flat(bench) if args.flat else compare(bench, args.rows, args.rounds)
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()

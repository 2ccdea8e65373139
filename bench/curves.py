"""How time and memory of a run grow: sequence length, batch, vocabulary, plugins, processes. Small models, minutes.

    python bench/curves.py [length batch vocabulary plugins processes] [--points N] [--json FILE]

Runs of the first three are forked from a process that has imported the libraries and computed nothing, so each has a
memory of its own; rows are all of one length. Growth with the number of rows is measured by `data_prep.py --flat`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import startup
from peers import environment
from processes import spend
from quick import make_model
from record import OURS, Curve, Result, provenance
from report import curve_lines
from rows import make_rows

STEPS = 4
LENGTHS, BATCHES = (128, 256, 512, 1024, 2048), (1, 2, 4, 8, 16)
VOCABULARIES, PLUGINS, PROCESSES = (4000, 16000, 64000, 152000), (0, 50, 100, 200, 400), (1, 2, 4)


class Sweep:
    """Runs on one set of long documents in a folder of its own; `points` bounds how many values of each are tried."""

    def __init__(self, folder: Path, points: int) -> None:
        self.folder, self.points = folder, points
        text = " ".join(row["output"].replace("\n", " ") for row in make_rows(1500))
        (folder / "text.txt").write_text("\n".join([text] * 4), encoding="utf-8")
        entry = {"text": {"file_name": "text.txt", "formatting": "text"}}
        (folder / "dataset_info.json").write_text(json.dumps(entry), encoding="utf-8")

    def model(self, vocabulary: int = 16000) -> Path:
        """A model of 6 blocks with a vocabulary, made in a process of its own."""
        folder = self.folder / f"model-{vocabulary}"
        if not folder.exists():
            _apart(make_model, folder, vocabulary)
        return folder

    def options(self, length: int, batch: int, vocabulary: int = 16000) -> list[str]:
        """A run over packed rows of exactly this length."""
        values = {
            "stage": "pt", "do_train": True, "dataset": "text", "packing": True, "max_steps": STEPS, "logging_steps": 1,
            "save_strategy": "no", "overwrite_output_dir": True, "finetuning_type": "lora", "bf16": False,
            "disable_gradient_checkpointing": True, "model_name_or_path": self.model(vocabulary),
            "dataset_dir": self.folder, "cutoff_len": length, "per_device_train_batch_size": batch,
            "gradient_accumulation_steps": 1, "output_dir": self.folder / "out",
        }  # fmt: skip
        return [f"{name}={value}" for name, value in values.items()]

    def run(self, length: int, batch: int, vocabulary: int = 16000) -> tuple[float, float]:
        """Seconds of a step (mean without the first) and the largest resident memory in MB."""
        answer = self.folder / "answer.json"
        answer.unlink(missing_ok=True)
        _apart(_train, self.options(length, batch, vocabulary), answer)
        found = json.loads(answer.read_text(encoding="utf-8"))
        return sum(found["wall_s"][1:]) / len(found["wall_s"][1:]), found["peak_mb"]

    def grow(self, what: str, values: tuple[int, ...], run: Callable[[int], tuple[float, float]]) -> list[Curve]:
        """Time and memory of a step against one number."""
        found = {value: run(value) for value in values[: self.points]}
        for value, (seconds, peak) in found.items():
            print(f"{what} {value}: {seconds:.3f} s, {peak:.0f} MB", file=sys.stderr, flush=True)
        return [
            Curve(f"{title} against {what}", what, unit, {OURS: [(float(v), pair[at]) for v, pair in found.items()]})
            for at, (title, unit) in enumerate((("A step's time", "seconds"), ("Memory", "peak MB")))
        ]

    def length(self) -> list[Curve]:
        """Four rows a step, longer and longer."""
        return self.grow("tokens in a row", LENGTHS, lambda length: self.run(length, 4))

    def batch(self) -> list[Curve]:
        """More and more rows of 256 tokens."""
        return self.grow("rows of a step", BATCHES, lambda batch: self.run(256, batch))

    def vocabulary(self) -> list[Curve]:
        """Four rows of 256 tokens, larger and larger vocabularies."""
        return self.grow("words of the vocabulary", VOCABULARIES, lambda vocabulary: self.run(256, 4, vocabulary))

    def plugins(self) -> list[Curve]:
        """Processor time of two commands with more and more plugins; none is new."""
        found: dict[str, list[tuple[float, float]]] = {"plugtune --help": [], "plugtune list": []}
        for count in PLUGINS[: self.points]:
            site, cache = self.folder / f"site-{count}", self.folder / f"plugins-{count}"
            site.mkdir()
            startup.install(site, range(count))
            env = {**os.environ, "PYTHONPATH": str(site), "PLUGTUNE_CACHE_DIR": str(cache)}
            for name, points in found.items():
                command = ["-m", *name.split()]
                startup.cpu_ms(command, env)
                points.append((float(count), min(startup.cpu_ms(command, env) for _ in range(3))))
        note = ("beside the plugins of this project; smallest of three",)
        return [Curve("Start-up against the number of plugins", "plugins more", "ms of processor time", found, note)]

    def processes(self) -> list[Curve]:
        """Four rows of 256 tokens for each of more and more processes, one thread each."""
        speed, memory = [], []
        for count in PROCESSES[: self.points]:
            if count > 2 * (os.cpu_count() or 1):
                continue
            options = [*self.options(256, 4), "max_steps=10"]
            env = environment(PLUGTUNE_CACHE_DIR=str(self.folder / "cache"), NPROC_PER_NODE=str(count))
            env["OMP_NUM_THREADS"] = "1"
            spent = spend([sys.executable, "-m", "plugtune", "train", *options], env, tree=True)
            report = json.loads((self.folder / "out" / "all_results.json").read_text(encoding="utf-8"))
            speed.append((float(count), report["train_tokens_per_second"]))
            memory.append((float(count), spent.tree_mb))
        note = (f"{os.cpu_count()} cores; the first step is in the figures",)
        return [
            Curve("Speed against the number of processes", "processes", "tokens a second", {OURS: speed}, note),
            Curve("Memory against the number of processes", "processes", "peak MB (PSS of all)", {OURS: memory}),
        ]


def _apart(work: Callable[..., None], *arguments: Any) -> None:
    """Call something in a forked process."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{work.__name__} ended with {process.exitcode}")


def _train(options: list[str], answer: Path) -> None:
    """A training run with the step clock; what it prints is not shown."""
    import plugtune
    from plugtune.options.reader import read_request
    from plugtune.plugins.host import PluginHost
    from plugtune.training.run import run_training
    from stepclock import StepClock

    class Clock:
        @plugtune.hookimpl
        def plugtune_callbacks(self, plan: Any) -> list[Any]:
            return [StepClock(str(answer))]

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    host = PluginHost().load()
    host.manager.register(Clock(), name="step-clock")
    run_training(read_request(options), host)


def main() -> None:
    """Measure and print; `--json FILE` keeps the figures."""
    kinds = ("length", "batch", "vocabulary", "plugins", "processes")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=list(kinds), metavar="KIND", help=", ".join(kinds))
    parser.add_argument("--points", type=int, default=9, help="how many values of each are tried")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if unknown := set(args.kinds) - set(kinds):
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(kinds)}")
    about = provenance()
    found: list[Curve] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(environment(PLUGTUNE_CACHE_DIR=f"{folder}/cache"))
        import peft  # noqa: F401
        import plugtune.training.trainer  # noqa: F401
        import transformers.trainer  # noqa: F401

        sweep = Sweep(Path(folder), args.points)
        for kind in args.kinds:
            found += getattr(sweep, kind)()
            if args.json:
                Result("curves", about, (), tuple(found)).write(args.json)
    print("\n".join(line for curve in found for line in curve_lines(curve)))


if __name__ == "__main__":
    main()

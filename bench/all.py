"""`make bench`: every benchmark in turn, a process each, then the pages docs/benchmarks.md and docs/scaling.md.

    python bench/all.py [--only sft dpo ...] [--quick] [--big] [--fresh] [--plan]

Results are kept in .bench/results; parts that are there already are not run again unless `--fresh`. A part that fails
is reported at the end and does not stop the others. `--quick` runs everything as small as it goes, to see that it
works; its figures go to .bench/quick and to no page. `--big` adds two parts that need ten minutes and 40 GB of disk.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from peers import HOME, environment, llamafactory, smollm2
from record import ROOT

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Part:
    """A benchmark: its command, the arguments that make it small, and the minutes it takes on 2 idle cores."""

    name: str
    command: tuple[str, ...]
    small: tuple[str, ...]
    minutes: float
    big: bool = False


ONCE = ("--rounds", "1")
PARTS = (
    Part("startup", ("startup.py",), (), 0.5),
    Part("data_prep", ("data_prep.py", "--rounds", "2"), ("--rows", "500", *ONCE), 2),
    Part("data_flat", ("data_prep.py", "--flat", "10000", "200000"), ("--flat", "500", "1000"), 1),
    Part("data_kill", ("data_prep.py", "--kill", "100000"), ("--kill", "60000"), 1),
    Part("sft_defaults", ("training.py", "sft", "--only", "LoRA", "fp32", "defaults"), (*ONCE, "--steps", "2"), 5),
    Part("sft_plain", ("training.py", "sft", "--only", "no checkpointing"), (*ONCE, "--steps", "2"), 4),
    Part("sft_checkpointing", ("training.py", "sft", "--only", "checkpointing everywhere"), (*ONCE, "--steps", "2"), 5),
    Part("sft_bf16", ("training.py", "sft", "--only", "bf16"), (*ONCE, "--steps", "2"), 4),
    Part("sft_full", ("training.py", "sft", "--only", "full"), (*ONCE, "--steps", "2"), 5.5),
    Part("dpo", ("training.py", "dpo"), (*ONCE, "--steps", "2"), 3.5),
    Part("rm", ("training.py", "rm"), (*ONCE, "--steps", "2"), 2.5),
    Part("kto", ("training.py", "kto"), (*ONCE, "--steps", "2"), 4),
    Part("merge", ("merge.py", "--gigabytes", "3"), ("--gigabytes", "0.5"), 1.5),
    Part("cross_entropy", ("cross_entropy.py",), (*ONCE, "--length", "64"), 1.5),
    Part("curves", ("curves.py",), ("--points", "2"), 3),
    Part("merge_big", ("merge.py", "--gigabytes", "12"), ("--gigabytes", "0.6"), 4, big=True),
    Part("data_big", ("data_prep.py", "--flat", "10000", "200000", "2000000"), ("--flat", "500"), 5, big=True),
)


def chosen(only: list[str], big: bool) -> list[Part]:
    """The parts to run.

    Raises:
        SystemExit: a name that is no part's.
    """
    names = [part.name for part in PARTS]
    if unknown := [name for name in only if name not in names]:
        raise SystemExit(f"{', '.join(unknown)}: the parts are {', '.join(names)}")
    return [part for part in PARTS if (part.name in only if only else big or not part.big)]


def run(part: Part, results: Path, quick: bool) -> str:
    """Run a part; what went wrong, or nothing."""
    log, kept = results / f"{part.name}.log", results / f"{part.name}.json"
    arguments = [*part.command[1:], *(part.small if quick else ())]
    command = [sys.executable, str(HERE / part.command[0]), *arguments, "--json", str(results / f"{part.name}.new")]
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        done = subprocess.run(
            command, cwd=ROOT, env=environment(), stdout=output, stderr=subprocess.STDOUT, check=False
        )
    minutes = (time.monotonic() - started) / 60
    if done.returncode:
        print(f"{part.name}: FAILED after {minutes:.1f} min, see {log}", flush=True)
        return f"{part.name} ended with {done.returncode}: {log.read_text(encoding='utf-8').strip()[-300:]}"
    (results / f"{part.name}.new").replace(kept)
    print(f"{part.name}: done in {minutes:.1f} min", flush=True)
    return ""


def main() -> int:
    """Run what is missing, write the page, list failures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help=", ".join(part.name for part in PARTS))
    for flag, words in (("quick", "as small as it goes"), ("big", "the two long parts too"),
                        ("fresh", "run parts again that are there"), ("plan", "say what would run")):  # fmt: skip
        parser.add_argument(f"--{flag}", action="store_true", help=words)
    args = parser.parse_args()
    results = HOME / ("quick" if args.quick else "results")
    results.mkdir(parents=True, exist_ok=True)
    parts = chosen(args.only, args.big)
    there = [part.name for part in parts if (results / f"{part.name}.json").is_file() and not args.fresh]
    todo = [part for part in parts if part.name not in there]
    for part in parts:
        print(f"{part.name:18} {'there already' if part.name in there else f'about {part.minutes:g} min'}")
    print(f"about {sum(part.minutes for part in todo):g} minutes on 2 idle cores"
          f"{' at full size; this is the small form' if args.quick else ''}", flush=True)  # fmt: skip
    if args.plan:
        return 0
    llamafactory()
    smollm2()
    failures = [problem for part in todo if (problem := run(part, results, args.quick))]
    if not args.quick:
        report = [sys.executable, str(HERE / "report.py"), "--results", str(results)]
        if subprocess.run(report, cwd=ROOT, check=False).returncode:
            failures.append("the report is not complete")
        if (results / "data_prep.json").is_file():
            paper = [sys.executable, str(HERE / "scaling.py"), "--measure", "--write"]
            if subprocess.run(paper, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode:
                failures.append("docs/scaling.md was not computed anew")
    for problem in failures:
        print(problem, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Start-up with 200 plugins: processor time of whole `plugtune` processes, seven of each.

python bench/startup.py [--json FILE]
"""

from __future__ import annotations

import argparse
import compileall
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from record import Measurement, Result, provenance
from report import lines

COUNT, RUNS = 200, 7
CODE = """
import plugtune
@plugtune.hookimpl
def plugtune_templates():
    return [plugtune.ChatTemplate(name="bench{n}", summary="benchmark template {n}")]
"""


def install(site: Path, numbers: range = range(COUNT)) -> None:
    """Distributions with a plugin each, two hundred of them, as an installer leaves them: compiled."""
    for n in numbers:
        package = site / f"plugtune_bench{n}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(CODE.replace("{n}", str(n)), encoding="utf-8")
        info = site / f"plugtune_bench{n}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: plugtune-bench{n}\nVersion: 1.0\nSummary: b\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(
            f"[plugtune]\nbench{n} = plugtune_bench{n}\n[plugtune.api]\nbench{n} = v1_0\n", encoding="utf-8"
        )
        compileall.compile_dir(package, quiet=1)


def cpu_ms(arguments: list[str], env: dict[str, str]) -> float:
    """User and system time of one process, in milliseconds."""
    process = subprocess.Popen([sys.executable, *arguments], env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{arguments} ended with status {process.returncode}")
    return 1000 * (usage.ru_utime + usage.ru_stime)


def main() -> None:
    """Measure and print; `--json FILE` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site, cache = Path(folder) / "site", Path(folder) / "cache"
        install(site)
        env = {**os.environ, "PYTHONPATH": str(site), "PLUGTUNE_CACHE_DIR": str(cache)}
        program = ["-m", "plugtune"]
        figures = {"plugtune list, 200 new plugins": [cpu_ms([*program, "list"], env)]}
        install(site, range(COUNT, COUNT + 1))
        figures["plugtune list, one new plugin"] = [cpu_ms([*program, "list"], env)]
        commands = {
            "plugtune --help": [*program, "--help"], "plugtune list": [*program, "list"],
            "plugtune plugins": [*program, "plugins"], "plugtune train --help": [*program, "train", "--help"],
            "python -c pass": ["-c", "pass"], "python -c 'import click'": ["-c", "import click"],
        }  # fmt: skip
        for name, arguments in commands.items():
            figures[name] = [cpu_ms(arguments, env) for _ in range(RUNS)]
    found = Measurement("Start-up with 200 plugins", "ms of processor time", "lower", figures)
    print("\n".join(lines(found)))
    if args.json:
        Result("startup", provenance(), (found,)).write(args.json)


if __name__ == "__main__":
    main()

"""Runs the tests of the families with layouts of their own on the oldest and the newest transformers they declare.

Each version gets an environment of its own in `.versions/`: a virtual environment that sees the packages of this one
(torch among them) and has another transformers, with what that one asks for, before them. `--transformers VERSION`
tries others; a family refuses what is outside of its range, so widen that first.

    python scripts/versions.py                       # the ends of the declared ranges
    python scripts/versions.py --transformers 5.5.0  # some other version
"""

from __future__ import annotations

import argparse
import importlib
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".versions"
TESTS = ("test_legacy_layouts.py", "test_legacy_tokenizers.py", "test_legacy_exports.py")


def declared() -> set[str]:
    """The transformers requirements of the families that have a layout, as they write them."""
    found = set()
    for path in sorted((ROOT / "plugins").glob("family-*")):
        module = importlib.import_module(f"plugtune_{path.name.replace('-', '_')}")
        for family in module.plugtune_families():
            found |= {r for r in family.requires if family.layout and r.startswith("transformers")}
    return found


def ends(requirement: str) -> list[str]:
    """What to install for both ends of a range `transformers>=A,<B`: its first release, and pip's newest in it.

    Raises:
        ValueError: the range has another form.
    """
    match = re.fullmatch(r"transformers>=(\d+)\.(\d+)(?:\.(\d+))?,<\d+(?:\.\d+)*", requirement)
    if match is None:
        raise ValueError(f"{requirement!r} is not like transformers>=5.5,<5.25")
    major, minor, patch = match.groups()
    return [f"transformers=={major}.{minor}.{patch or 0}", requirement]


def environment(requirement: str) -> Path:
    """The Python of an environment with that transformers, made when it is not there."""
    folder = HOME / re.sub(r"[^\w.]+", "-", requirement).strip("-")
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        ours = sysconfig.get_path("purelib")
        theirs = next(folder.glob("lib/python*/site-packages"))
        # `addsitedir` appends, so what is installed here comes first; it also reads the .pth files over there.
        (theirs / "of_the_project.pth").write_text(f"import site; site.addsitedir({ours!r})\n", encoding="utf-8")
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--upgrade", requirement]
    subprocess.run(pip, check=True)
    return python


def run(python: Path, options: list[str]) -> bool:
    """Whether the tests pass there; says which transformers it was."""
    code = "import transformers; print(transformers.__version__)"
    version = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    tests = [str(ROOT / "tests" / "plugins" / name) for name in TESTS]
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *tests]
    done = subprocess.run(command, cwd=ROOT, check=False)
    print(f"transformers {version}: {'passed' if done.returncode == 0 else 'FAILED'}", flush=True)
    return done.returncode == 0


def main() -> int:
    """0 when every version passes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--transformers", action="append", default=[], help="a version to try instead of the ends")
    parser.add_argument("pytest", nargs="*", help="options for pytest, after --")
    options = parser.parse_args()
    wanted = [f"transformers=={v}" for v in options.transformers] or sorted({e for d in declared() for e in ends(d)})
    passed = [run(environment(requirement), options.pytest) for requirement in wanted]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""What every benchmark leaves: measurements and curves with the machine, versions, revision and command they came from.

Knows nothing of what is measured and writes no page; `report.py` reads these files.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
OURS = "plugtune"
FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16")
LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "datasets", "tokenizers", "llamafactory")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure of several sides.

    Attributes:
        title: what was measured, in words.
        unit: of the values.
        better: whether more or less of it is good.
        sides: side → its values, one a round.
        peaks: side → largest memory in MB, one a round; empty where it was not measured.
        notes: what else was found, e.g. "losses within 1e-6".
    """

    title: str
    unit: str
    better: Literal["higher", "lower"]
    sides: dict[str, list[float]]
    peaks: dict[str, list[float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Curve:
    """How a figure grows: `lines` holds `(x, y)` pairs by the name of the line."""

    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark's findings and where they come from; `about` as `provenance` gives it."""

    part: str
    about: dict[str, Any]
    measurements: tuple[Measurement, ...] = ()
    curves: tuple[Curve, ...] = ()

    def write(self, path: Path) -> None:
        """The whole file or none of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".part")
        aside.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")
        aside.replace(path)


def read(path: Path) -> Result:
    """What `Result.write` wrote."""
    found = json.loads(path.read_text(encoding="utf-8"))
    measurements = tuple(Measurement(**{**m, "notes": tuple(m["notes"])}) for m in found["measurements"])
    curves = tuple(
        Curve(**{**c, "notes": tuple(c["notes"]), "lines": {k: [(x, y) for x, y in v] for k, v in c["lines"].items()}})
        for c in found["curves"]
    )
    return Result(found["part"], found["about"], measurements, curves)


def provenance(peers: dict[str, str] | None = None) -> dict[str, Any]:
    """Machine, versions, revision, date and command.

    Args:
        peers: name → python of an environment whose libraries are listed beside ours.
    """
    command = " ".join([Path(sys.argv[0]).name, *map(_plain, sys.argv[1:])])
    return {
        "machine": machine(),
        "versions": {name: versions(python) for name, python in {OURS: sys.executable, **(peers or {})}.items()},
        "revision": revision(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": f"python bench/{command}",
        "load": round(os.getloadavg()[0], 2),
    }


def _plain(argument: str) -> str:
    """An argument without the folders of this machine."""
    return Path(argument).name if os.sep in argument and Path(argument).is_absolute() else argument


def machine() -> dict[str, Any]:
    """Processor, cores, memory in GB, and the instructions that matter here."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    flags = facts.get("flags", "").split()
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(), "memory_gb": round(memory, 1), "python": platform.python_version(),
        "features": [name for name in FEATURES if name in flags], "system": f"{platform.system()} {platform.release()}",
    }  # fmt: skip


def versions(python: str) -> dict[str, str]:
    """Versions of the libraries that matter in an environment."""
    code = (
        "import importlib.metadata as m, json, sys\nfound = {}\nfor n in sys.argv[1:]:\n"
        " try: found[n] = m.version(n)\n except m.PackageNotFoundError: pass\nprint(json.dumps(found))"
    )
    done = subprocess.run([python, "-c", code, *LIBRARIES], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def revision() -> str:
    """The commit of the tree, and whether there are changes beside it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"

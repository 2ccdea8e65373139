"""A new environment with built wheels in it; it sees the heavy libraries of this one."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
NEEDED = ("core", "contrib_templates", "plugins/format-standard", "plugins/method-lora", "plugins/method-full",
          "plugins/stage-sft", "plugins/export-merged", "plugins/family-llama")  # fmt: skip


@dataclass(frozen=True)
class Environment:
    """A virtual environment: `plugtune` and `python` run in it, `install` builds folders as wheels and installs them."""

    folder: Path

    def run(self, program: str, *args: object, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "PLUGTUNE_CACHE_DIR": str(self.folder / "cache"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **env,
        }  # fmt: skip
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PLUGTUNE_POLICY")}
        return subprocess.run(
            [self.folder / "bin" / program, *map(str, args)], capture_output=True, text=True, check=False, cwd=cwd,
            env={**clean, **settings}, timeout=600,
        )  # fmt: skip

    def plugtune(self, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
        return self.run("plugtune", *args, **env)

    def install(self, *folders: Path) -> None:
        wheels = Path(mkdtemp(dir=self.folder))
        subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, *folders], check=True)
        files = sorted(wheels.glob("*.whl"))
        assert len(files) == len(folders)
        target = ["--python", str(self.folder / "bin" / "python")]
        subprocess.run([*PIP, *target, "install", "--no-deps", "--no-index", "--force-reinstall", *files], check=True)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    # Paths in a .pth file come after the environment's own packages, and editable installations are not followed.
    seen = [path for path in sys.path if path.endswith("site-packages")]
    (site / "heavy.pth").write_text("\n".join(seen) + "\n", encoding="utf-8")
    made = Environment(folder)
    made.install(*(ROOT / name for name in NEEDED))
    return made


@pytest.fixture(scope="session")
def make_plugin(environment: Environment) -> Callable[..., Path]:
    """`plugtune new`, built as a wheel and installed."""

    def call(kind: str, name: str, folder: Path) -> Path:
        done = environment.plugtune("new", kind, name, "--output", folder)
        assert done.returncode == 0, done.stderr
        environment.install(folder)
        return folder

    return call

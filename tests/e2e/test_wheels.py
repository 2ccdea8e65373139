"""A plugin is a distribution of its own: it builds as a wheel, installs beside core, and is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]


def test_every_distribution_builds_as_a_wheel_and_is_found_when_installed(tmp_path):
    folders = [ROOT / "core", *sorted((ROOT / "plugins").iterdir()), ROOT / "contrib_templates"]
    folders = [folder for folder in folders if (folder / "pyproject.toml").is_file()]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheels", *folders], check=True
    )
    wheels = sorted((tmp_path / "wheels").glob("*.whl"))
    assert len(wheels) == len(folders)
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", *wheels], check=True)
    code = (
        "import json, plugtune; from plugtune.plugins.host import PluginHost;"
        "print(json.dumps([plugtune.__file__, {p.name: [p.status, p.reason] for p in PluginHost().load().plugins}]))"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    file, plugins = json.loads(
        subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout
    )
    assert file.startswith(str(tmp_path / "site"))
    assert len(plugins) == len(folders) - 1
    assert {name: why for name, (status, why) in plugins.items() if status != "ok"} == {}

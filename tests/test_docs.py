"""The commands that README marks as runnable run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- run -->\n```bash\n(.*?)```", text, re.DOTALL)
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("command", commands())
def test_readme_commands_run(command):
    words = shlex.split(command)
    assert words[0] == "plugtune"
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_documented_tutorial_script_is_the_one_that_is_tested():
    script = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    test = (ROOT / "tests" / "e2e" / "test_runs.py").read_text(encoding="utf-8")
    flags = re.findall(r"^  (--\w+)", script.split("```")[1], re.MULTILINE)
    assert len(flags) == 21
    assert all(f'"{flag}"' in test for flag in flags)

"""The commands of pages about runs that are marked as runnable run, in order; the examples are accepted as they are."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from plugtune.options.reader import read_request
from plugtune.training.planner import make_plan

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


def commands(page: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"<!-- run -->\n```bash\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.parametrize("page", ["distributed.md", "resume.md"])
def test_the_commands_of_a_page_run(page, model_dir, tmp_path):
    assert commands(page)
    for command in commands(page):
        words = shlex.split(command.replace("MODEL", str(model_dir)).replace("OUT/", f"{tmp_path}/"))
        env = dict(os.environ, OMP_NUM_THREADS="1")
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            env[name] = value
        assert words[0] == "plugtune"
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_every_example_is_a_request_without_mistakes(path, host, monkeypatch):
    monkeypatch.setattr("plugtune.options.checks.installed", lambda name: True)
    monkeypatch.chdir(ROOT)
    plan = make_plan(read_request([str(path)]), host)
    assert plan.run.do_train
    assert not [note for note in plan.notes if "no effect" in note]


def test_every_deepspeed_file_is_json_that_leaves_sizes_to_the_run():
    files = sorted((ROOT / "examples" / "deepspeed").glob("*.json"))
    stages = [json.loads(file.read_text())["zero_optimization"]["stage"] for file in files]
    assert stages == [2, 2, 3, 3]
    assert all(json.loads(file.read_text())["train_batch_size"] == "auto" for file in files)

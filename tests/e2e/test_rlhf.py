"""The chain of docs/rlhf.md runs as printed, and the example files are requests that plugtune accepts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from plugtune.options.reader import read_request
from plugtune.training.planner import make_plan

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
@pytest.mark.long
def test_the_documented_chain_runs_as_printed(model_dir, tmp_path):
    text = (ROOT / "docs" / "rlhf.md").read_text(encoding="utf-8")
    script = re.search(r"<!-- chain -->\n```bash\n(.*?)```", text, re.DOTALL).group(1)
    script = script.replace("MODEL", str(model_dir)).replace("plugtune ", f"{sys.executable} -m plugtune ")
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    accuracy = [json.loads(line)["accuracy"] for line in (out / "rm" / "trainer_log.jsonl").read_text().splitlines()]
    assert accuracy[-1] == 1.0
    report = json.loads((out / "ppo" / "run.json").read_text())
    choices = {choice["what"]: choice["value"] for choice in report["choices"]}
    assert choices["reward"] == "out/rm"
    assert choices["reference"] == "the model that the run starts from"
    for folder in ("rm", "ppo"):
        assert (out / folder / "adapter_model.safetensors").is_file()
        assert (out / folder / "value_head.safetensors").is_file()
    assert json.loads(done.stdout[done.stdout.index("[") :])[0]["answer"] is not None


@pytest.mark.parametrize("name", ["rm_lora", "ppo_lora", "grpo_lora"])
def test_the_example_files_are_accepted(host, name):
    plan = make_plan(read_request([str(ROOT / "examples" / f"{name}.yaml")]), host)
    assert plan.stage.name == name.partition("_")[0]
    assert not [note for note in plan.notes if "no effect" in note]

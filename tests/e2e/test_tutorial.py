"""The tutorial's six scripts, flag by flag, on tiny checkpoints in the original layouts; then merging and asking."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from plugtune.testkit import tiny
from safetensors.torch import load_file

pytestmark = [pytest.mark.e2e, pytest.mark.long]
pytest.importorskip("sentencepiece", reason="requirements-dev.txt is not installed")

SCRIPTS = Path(__file__).resolve().parents[2] / "examples" / "tutorial"
FAMILIES = {"qwen": "qwen1", "chatglm3": "chatglm3", "baichuan2": "baichuan2"}
NATIVE = {"qwen": "Qwen2ForCausalLM", "chatglm3": "GlmForCausalLM", "baichuan2": "LlamaForCausalLM"}


@pytest.fixture(scope="module")
def models(tmp_path_factory, host) -> dict[str, Path]:
    return {name: tiny.make(family, tmp_path_factory.mktemp(name), host=host) for name, family in FAMILIES.items()}


@pytest.fixture
def work(tmp_path) -> Path:
    """A working directory with the data set that the tutorial names."""
    data = tmp_path / "data"
    data.mkdir()
    rows = [{"instruction": f"第{n}个问题：保持健康？", "input": "", "output": f"多喝水，第{n}次。"} for n in range(40)]
    (data / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    (data / "dataset_info.json").write_text(json.dumps({"alpaca_gpt4_zh": {"file_name": "rows.json"}}))
    return tmp_path


def run(script: str, folder: Path, *args: str, **env: object) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = (
        [sys.executable, str(SCRIPTS / script), *args] if script.endswith(".py") else ["bash", str(SCRIPTS / script)]
    )
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **{k: str(v) for k, v in env.items()}},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def losses(output: Path) -> list[float]:
    lines = (output / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_single_device_script_then_merge_then_the_three_questions(name, models, work):
    pytest.importorskip("bitsandbytes")
    done = run(f"single_lora_{name}.sh", work, MODEL=models[name])
    assert "fp16 needs a GPU" in done.stderr
    output = work / f"single_lora_{name}_checkpoint"
    adapter = load_file(output / "adapter_model.safetensors")
    assert {key.split(".")[-3] for key in adapter} == {"q_proj", "k_proj", "v_proj"}
    assert any(value.abs().max() > 0 for key, value in adapter.items() if "lora_B" in key)
    assert list((work / f"single_lora_{name}_log").rglob("events.out.tfevents.*"))
    template = "qwen" if name == "qwen" else name
    run("merge_model.sh", work, MODEL=models[name], ADAPTER=output, TEMPLATE=template, MERGED=work / "merged")
    asked = run("ask.py", work, str(work / "merged"), "8")
    assert f"{NATIVE[name]} and " in asked.stdout
    assert "plugtune loaded: False" in asked.stdout
    assert asked.stdout.count("\nA: ") == 3


@pytest.mark.parametrize("name", FAMILIES)
def test_a_distributed_script_with_two_processes(name, models, work):
    rows = json.loads((work / "data" / "rows.json").read_text())[:8]
    (work / "data" / "rows.json").write_text(json.dumps(rows))
    run(
        f"distributed_lora_{name}.sh",
        work,
        MODEL=models[name],
        LAUNCH=f"{sys.executable} -m torch.distributed.run --nproc_per_node 2",
    )
    output = work / f"dist_{name}_lora_checkpoint"
    state = json.loads((output / "trainer_state.json").read_text())
    assert state["max_steps"] == 12  # 8 rows, 2 processes, 3 epochs
    assert losses(output)
    assert (output / "training_loss.png").stat().st_size > 1000
    assert load_file(output / "adapter_model.safetensors")

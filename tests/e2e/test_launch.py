"""Two processes do exactly what one process with twice the batch does; one page, one message, one exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mini_data import write_mini
from two_processes import as_two, free_port, losses

pytestmark = [pytest.mark.e2e, pytest.mark.long]

HURT = """
import os, signal
import plugtune

@plugtune.hookimpl
def plugtune_callbacks(plan):
    from transformers import TrainerCallback

    class Hurt(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            how, rank, step = os.environ["HURT"].split(",")
            if os.environ.get("RANK", "0") == rank and state.global_step == int(step):
                if how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise {"error": ValueError, "request": plugtune.RequestError}[how]("this went wrong")

    return [Hurt()] if "HURT" in os.environ else []
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_mini(tmp_path_factory.mktemp("data"), texts={"file_name": "texts.txt", "formatting": "text"})
    (folder / "texts.txt").write_text("\n".join(f"Document {n} says hello." for n in range(41)), encoding="utf-8")
    (folder / "hurt_plugin.py").write_text(HURT)
    info = folder / "hurt_plugin-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hurt-plugin\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[plugtune]\nhurt = hurt_plugin\n[plugtune.api]\nhurt = v1_0\n")
    return folder


@pytest.fixture
def command(model_dir, data_dir):
    def make(output: Path, *extra: object) -> list[str]:
        args = [
            "train", "--do_train", "--model_name_or_path", model_dir, "--dataset", "mini", "--dataset_dir", data_dir,
            "--output_dir", output, "--learning_rate", "1e-2", "--logging_steps", 1, "--bf16", "false", *extra,
        ]  # fmt: skip
        return [str(arg) for arg in args]

    return make


CELLS = {
    "sft lora": ("--num_train_epochs", 2),
    "sft full, accumulated": ("--finetuning_type", "full", "--gradient_accumulation_steps", 2, "--num_train_epochs", 2),
    "pt full": ("--stage", "pt", "--dataset", "texts", "--cutoff_len", 32, "--finetuning_type", "full",
                "--learning_rate", "1e-3", "--num_train_epochs", 2),
    "pt lora, padded": ("--stage", "pt", "--dataset", "texts", "--cutoff_len", 32, "--plain_loss", "true"),
    "sft full, packed": ("--finetuning_type", "full", "--packing", "true", "--cutoff_len", 128, "--num_train_epochs", 3),
    "sft lora, streaming": ("--streaming", "true", "--buffer_size", 8, "--max_steps", 5),
    "sft lora, streaming in order": ("--streaming", "true", "--disable_shuffling", "true", "--max_steps", 3),
}  # fmt: skip


@pytest.mark.parametrize("cell", CELLS)
def test_two_processes_equal_one_with_twice_the_batch(forked, command, tmp_path, cell):
    one = command(tmp_path / "one", *CELLS[cell], "--per_device_train_batch_size", 4)
    forked.run(one, tmp_path / "log")
    two = command(tmp_path / "two", *CELLS[cell], "--per_device_train_batch_size", 2)
    texts = as_two(forked, two, tmp_path)
    assert len(losses(tmp_path / "one")) > 2
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    assert "done: " in texts[0]
    assert "done: " not in texts[1]


def run(args: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *args], capture_output=True, text=True, timeout=900, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **env},
    )  # fmt: skip


def test_train_starts_its_processes_and_says_so_once(forked, command, tmp_path):
    fresh = {"PLUGTUNE_CACHE_DIR": str(tmp_path / "cache"), "NPROC_PER_NODE": "2"}
    args = command(tmp_path / "two", "--per_device_train_batch_size", 2, "--max_steps", 4, "--save_steps", 2)
    done = run(["plugtune", *args], **fresh)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("rows read") == 1
    assert "from the cache" not in done.stderr, "the first process prepares, and reports what it prepared"
    assert "devices: 2 processes on 1 machine, cpu (gloo)" in done.stderr
    assert len(done.stderr.splitlines()) < 40
    report = json.loads((tmp_path / "two" / "run.json").read_text(encoding="utf-8"))
    assert report["devices"] == {"processes": 2, "machines": 1, "device": "cpu", "backend": "gloo",
                                 "strategy": "data parallel (DDP)"}  # fmt: skip
    prepared = [path for path in (tmp_path / "cache" / "data").iterdir() if path.is_dir()]  # a lock file may stay
    assert len(prepared) == 1
    saved = {path.name for path in (tmp_path / "two" / "checkpoint-4").iterdir()}
    assert {"rng_state_0.pth", "rng_state_1.pth", "manifest.json"} <= saved
    assert not (tmp_path / "two" / ".saving").exists()
    before = losses(tmp_path / "two")
    as_two(forked, [*args, "--resume_from_checkpoint", str(tmp_path / "two" / "checkpoint-2")], tmp_path)
    assert losses(tmp_path / "two") == before


@pytest.mark.parametrize(
    ("hurt", "status", "message"),
    [
        ("error,1,2", 1, "error in process 1: ValueError: this went wrong"),
        ("request,0,1", 2, "error: this went wrong"),
        ("kill,1,2", 1, "error: process 1 was killed by SIGKILL"),
    ],
)
def test_an_error_of_one_process_ends_all_with_one_message(command, data_dir, tmp_path, hurt, status, message):
    args = command(tmp_path / "two", "--max_steps", 50)
    done = run(["plugtune", *args], NPROC_PER_NODE="2", HURT=hurt, PYTHONPATH=str(data_dir))
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert done.stderr.count("error") == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_request_starts_no_process(command, tmp_path):
    done = run(["plugtune", *command(tmp_path / "two", "--dataset", "minni")], NPROC_PER_NODE="2")
    assert done.returncode == 2
    assert done.stderr.count("did you mean 'mini'") == 1


def test_two_machines_meet_by_the_usual_variables(command, tmp_path):
    shared = {"NNODES": "2", "NPROC_PER_NODE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    args = command(tmp_path / "two", "--per_device_train_batch_size", 2, "--max_steps", 3)
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "plugtune", *args], stderr=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **shared, "NODE_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    texts = [node.communicate(timeout=900)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], texts
    assert "2 processes on 2 machines" in texts[0]
    assert texts[1] == ""


def test_accelerate_launch_and_torchrun_start_the_same_run(command, tmp_path):
    args = command(tmp_path / "run", "--per_device_train_batch_size", 2, "--max_steps", 2)
    done = run(["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", free_port(),
                "-m", "plugtune", *args])  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "devices: 2 processes" in done.stderr
    assert done.stderr.count("done: ") == 1


def test_one_process_of_accelerates_cpu_launcher_is_noticed(forked, command, tmp_path):
    args = command(tmp_path / "run", "--max_steps", 1)
    text = forked.run(args, tmp_path / "log", {"ACCELERATE_USE_CPU": "True"})
    assert "accelerate launch --cpu starts a single process" in text


def test_sigterm_to_the_launcher_saves_once_and_stops_all(command, tmp_path):
    output = tmp_path / "two"
    process = subprocess.Popen(
        [sys.executable, "-m", "plugtune", *command(output, "--max_steps", 100000, "--logging_steps", 1)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "NPROC_PER_NODE": "2"},
    )  # fmt: skip
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and not (output / "trainer_log.jsonl").exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    text = process.communicate(timeout=600)[1]
    assert process.returncode == 128 + signal.SIGTERM, text
    assert text.count("SIGTERM: saving and stopping") == 1
    assert len(list(output.glob("checkpoint-*/manifest.json"))) == 1
    assert json.loads((output / "run.json").read_text())["status"] == "stopped"

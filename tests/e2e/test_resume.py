"""A run can be killed at any instant, stopped, or run out of disk, and goes on to the very same numbers."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
from mini_data import mini_rows, write_mini

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = {"file_name": "texts.txt", "formatting": "text"}
    folder = write_mini(tmp_path_factory.mktemp("data"), other={"file_name": "other.json"}, texts=texts)
    (folder / "other.json").write_text(json.dumps(mini_rows()[::-1]), encoding="utf-8")
    (folder / "texts.txt").write_text("\n".join(f"Document {n} says hello." for n in range(40)), encoding="utf-8")
    return folder


@pytest.fixture
def command(model_dir, data_dir):
    def make(output: Path, *extra: object) -> list[object]:
        return [
            "train", "--do_train", "--model_name_or_path", model_dir, "--dataset", "mini", "--dataset_dir", data_dir,
            "--output_dir", output, "--per_device_train_batch_size", 2, "--learning_rate", "1e-2", "--logging_steps", 1,
            "--bf16", "false", *extra,
        ]  # fmt: skip

    return make


def losses(output: Path) -> dict[int, float]:
    """The last logged loss of each step: a run that was killed logs some steps twice."""
    lines = (output / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return {entry["current_steps"]: entry["loss"] for entry in map(json.loads, lines) if "loss" in entry}


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for yet does not."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def weights(output: Path) -> bytes:
    return next(output.glob("*model.safetensors")).read_bytes()


VARIANTS = {
    "lora, dropout, accumulation": ("--lora_dropout", 0.2, "--gradient_accumulation_steps", 2, "--max_steps", 12),
    "full, cosine, workers": ("--finetuning_type", "full", "--lr_scheduler_type", "cosine", "--dataloader_num_workers", 1,
                              "--num_train_epochs", 2),
    "packed": ("--packing", "true", "--cutoff_len", 128, "--lora_dropout", 0.1, "--num_train_epochs", 4),
    "pre-training, in the order of the file": ("--stage", "pt", "--dataset", "texts", "--cutoff_len", 32,
                                               "--disable_shuffling", "true", "--max_steps", 12),
    "streaming": ("--streaming", "true", "--buffer_size", 8, "--max_steps", 14),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_is_the_uninterrupted_one_bit_by_bit(forked, command, tmp_path, variant):
    extra = ("--save_steps", 4, *VARIANTS[variant])
    forked.run(command(tmp_path / "whole", *extra), tmp_path / "log")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for folder in (tmp_path / "cut").glob("checkpoint-*"):
        if folder.name != "checkpoint-4":
            shutil.rmtree(folder)
    forked.run(command(tmp_path / "cut", *extra, "--resume_from_checkpoint", "true"), tmp_path / "log")
    assert len(losses(tmp_path / "whole")) > 5
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


SLOW = '''
import os, time
import plugtune

@plugtune.hookimpl
def plugtune_callbacks(plan):
    from transformers import TrainerCallback

    class Slow(TrainerCallback):
        """Makes steps slow, and saving slower, so that a kill can land in it."""

        def on_step_end(self, args, state, control, **_):
            time.sleep(float(os.environ.get("SLOW_STEP", "0")))

        def state(self):
            time.sleep(float(os.environ.get("SLOW_SAVE", "0")))
            return {"args": {}, "attributes": {}}

    from transformers.trainer_callback import ExportableState

    class SlowSave(Slow, ExportableState):
        """Its state is asked for in the middle of a save: after the weights, before the trainer's own state."""

    return [SlowSave()]
'''


@pytest.fixture(scope="module")
def slow_plugin(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("slow")
    (folder / "slow_plugin.py").write_text(SLOW)
    info = folder / "slow_plugin-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-plugin\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[plugtune]\nslow = slow_plugin\n[plugtune.api]\nslow = v1_0\n")
    return str(folder)


def test_thirty_kills_at_random_instants_lose_nothing(forked, command, slow_plugin, tmp_path):
    """Each run goes on from what the kill before has left, so that damage of any of them would add up."""
    extra = ("--max_steps", 160, "--save_steps", 2, "--save_total_limit", 2, "--lora_dropout", 0.1)
    forked.run(command(tmp_path / "whole", *extra), tmp_path / "log")
    slow = {"PYTHONPATH": slow_plugin, "SLOW_STEP": "0.005", "SLOW_SAVE": "0.05"}
    output, chance = tmp_path / "killed", random.Random(30)
    kills = while_saving = 0
    log = tmp_path / "log"
    while kills < 30:
        resume = (
            ("--resume_from_checkpoint", "true") if any(output.glob("checkpoint-*")) else ("--overwrite_output_dir",)
        )
        if kills and resume[0] == "--overwrite_output_dir":
            resume = ("--overwrite_output_dir", "true")
        before = (output / "trainer_log.jsonl").stat().st_size if (output / "trainer_log.jsonl").exists() else 0
        pid = forked.start(command(output, *extra, *resume), log, slow)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and alive(pid):  # until it trains, then a random instant
            path = output / "trainer_log.jsonl"
            if path.exists() and path.stat().st_size != before:
                break
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.25))
        saving = (output / ".saving").exists()
        os.kill(pid, signal.SIGKILL)
        status = forked.wait(pid)
        assert status in (-signal.SIGKILL, 0), log.read_text()
        kills += 1
        while_saving += saving
        if status == 0:
            break
    forked.run(command(output, *extra, "--resume_from_checkpoint", "true", "--allow_plugin_change", "true"), log)
    assert kills == 30, "the run must be long enough for thirty kills"
    assert while_saving >= 5
    assert losses(output) == losses(tmp_path / "whole")
    assert weights(output) == weights(tmp_path / "whole")
    assert not (output / ".saving").exists()


def test_no_room_while_saving_keeps_the_checkpoint_before_and_says_so(forked, command, tmp_path, slow_plugin):
    """The limit of a file's size stands for a full disk: writing fails in the middle of a file, in whoever writes."""
    extra = ("--finetuning_type", "full", "--max_steps", 6, "--save_steps", 2)
    forked.run(command(tmp_path / "whole", *extra), tmp_path / "log")
    slow = {"PYTHONPATH": slow_plugin, "SLOW_STEP": "0.5"}
    pid = forked.start(command(tmp_path / "run", *extra), tmp_path / "log", slow)
    wait_for(tmp_path / "run" / "checkpoint-2" / "manifest.json")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))  # smaller than the weights
    assert forked.wait(pid) == 1
    text = (tmp_path / "log").read_text()
    assert "error: " in text
    assert "saving checkpoint-4 failed" in text
    assert "checkpoint-2 is kept" in text
    assert "Traceback" not in text
    left = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert left == ["checkpoint-2", "plugins.json", "trainer_log.jsonl"]
    forked.run(
        command(tmp_path / "run", *extra, "--resume_from_checkpoint", "true", "--allow_plugin_change", "true"),
        tmp_path / "log",
    )
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not path.exists():
        time.sleep(0.01)
    assert path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_saves_and_goes_on(forked, command, tmp_path, number, slow_plugin):
    extra = ("--max_steps", 30, "--save_steps", 100, "--lora_dropout", 0.1)
    forked.run(command(tmp_path / "whole", *extra), tmp_path / "log")
    slow = {"PYTHONPATH": slow_plugin, "SLOW_STEP": "0.1"}
    pid = forked.start(command(tmp_path / "run", *extra), tmp_path / "log", slow)
    wait_for(tmp_path / "run" / "trainer_log.jsonl")
    time.sleep(0.2)
    os.kill(pid, number)
    assert forked.wait(pid) == 128 + number, (tmp_path / "log").read_text()
    report = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (report["status"], report["signal"]) == ("stopped", signal.Signals(number).name)
    assert not (tmp_path / "run" / "adapter_model.safetensors").exists(), "the run is not done"
    assert len(losses(tmp_path / "run")) < 30
    forked.run(
        command(tmp_path / "run", *extra, "--resume_from_checkpoint", "true", "--allow_plugin_change", "true"),
        tmp_path / "log",
    )
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "finished"


REFUSED = {
    "--dataset other": "rows 21",
    "--seed 7": "seed 42 there, 7 here",
    "--per_device_train_batch_size 4": "rows per step 2 there, 4 here",
    "--learning_rate 1e-3": "learning_rate 0.01 there, 0.001 here",
    "--optim adafactor": "optim adamw_torch_fused there, adafactor here",
    "--lora_rank 4": "lora_rank 8 there, 4 here",
    "--template qwen": "template auto",
    "--train_on_prompt true": "train_on_prompt false there, true here",
}


@pytest.fixture(scope="module")
def earlier(forked, model_dir, data_dir, tmp_path_factory):
    output = tmp_path_factory.mktemp("earlier") / "run"
    args = [
        "train", "--do_train", "--model_name_or_path", model_dir, "--dataset", "mini", "--dataset_dir", data_dir,
        "--output_dir", output, "--per_device_train_batch_size", 2, "--learning_rate", "1e-2", "--logging_steps", 1,
        "--bf16", "false", "--max_steps", 4, "--save_steps", 2,
    ]  # fmt: skip
    forked.run(args, output.parent / "log")
    return output


@pytest.mark.parametrize("change", REFUSED)
def test_a_resume_is_not_another_run(forked, command, earlier, tmp_path, change):
    output = tmp_path / "run"
    shutil.copytree(earlier, output)
    resume = ("--max_steps", 4, "--save_steps", 2, "--resume_from_checkpoint", "true")
    pid = forked.start(command(output, *resume, *change.split()), tmp_path / "log")
    assert forked.wait(pid) == 2
    text = (tmp_path / "log").read_text()
    assert REFUSED[change] in text
    assert "start from these weights with --adapter_name_or_path" in text


def test_what_takes_effect_from_here_on_is_noted(forked, command, earlier, tmp_path):
    output = tmp_path / "run"
    shutil.copytree(earlier, output)
    resume = ("--max_steps", 6, "--lr_scheduler_type", "cosine", "--resume_from_checkpoint", "true")
    text = forked.run(command(output, *resume), tmp_path / "log")
    assert "resumed with lr_scheduler_type cosine instead of linear" in text
    assert "resumed with max_steps 6 instead of 4" in text
    assert max(losses(output)) == 6


def test_starting_from_weights_is_a_new_run(forked, command, earlier, tmp_path):
    """Other data, other learning rate: allowed, from step 1, and the first loss is the one of the trained adapter."""
    args = command(tmp_path / "new", "--adapter_name_or_path", earlier, "--dataset", "other", "--learning_rate", "1e-4",
                   "--max_steps", 2)  # fmt: skip
    text = forked.run(args, tmp_path / "log")
    assert "weights: " in text
    assert sorted(losses(tmp_path / "new")) == [1, 2]
    assert losses(tmp_path / "new")[1] < losses(earlier)[1] - 0.01
    broken = tmp_path / "broken"
    shutil.copytree(earlier / "checkpoint-4", broken)
    (broken / "adapter_model.safetensors").write_bytes(b"x")
    pid = forked.start(command(tmp_path / "no", "--adapter_name_or_path", broken, "--max_steps", 1), tmp_path / "log")
    assert forked.wait(pid) == 2
    assert "is not whole" in (tmp_path / "log").read_text()


def test_a_checkpoint_without_optimizer_is_not_resumed_silently(forked, command, tmp_path):
    extra = ("--max_steps", 2, "--save_steps", 2, "--save_only_model", "true")
    forked.run(command(tmp_path / "run", *extra), tmp_path / "log")
    pid = forked.start(command(tmp_path / "run", *extra, "--resume_from_checkpoint", "true"), tmp_path / "log")
    assert forked.wait(pid) == 2
    assert "save_only_model" in (tmp_path / "log").read_text()

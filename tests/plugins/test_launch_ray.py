"""Ray as a launcher: who is who among placed processes, what is refused, and a run that equals torchrun's."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mini_data import write_mini
from plugtune.errors import PluginError, RequestError, RunError
from plugtune.options.reader import read_request
from plugtune.training.launchers import exit_status, named_launcher
from plugtune.training.planner import make_plan

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="pip install 'plugtune-launch-ray[ray]'")
ASKED = "--do_train --model_name_or_path m --dataset d --output_dir o"


def test_the_option_or_the_variable_chooses_it(host):
    assert named_launcher(read_request(["--stage", "sft"]), host.catalog, {}) is None
    assert named_launcher(read_request(["--stage", "sft"]), host.catalog, {"USE_RAY": "0"}) is None
    assert named_launcher(read_request(["--stage", "sft"]), host.catalog, {"USE_RAY": "1"}).name == "ray"
    assert named_launcher(read_request(["--launcher", "ray"]), host.catalog, {}).name == "ray"
    with pytest.raises(PluginError, match="ray"):
        named_launcher(read_request(["--launcher", "rai"]), host.catalog, {})


def test_without_ray_the_run_is_refused_with_the_way_out(host, monkeypatch):
    monkeypatch.setattr("plugtune_launch_ray.checks.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r"pip install 'plugtune-launch-ray\[ray\]'"):
        make_plan(read_request([*ASKED.split(), "--launcher", "ray"]), host)


def test_llama_factorys_ray_options_are_read(host, tmp_path, monkeypatch):
    monkeypatch.setattr("plugtune_launch_ray.checks.find_spec", lambda name: object())
    (tmp_path / "run.yaml").write_text(
        "do_train: true\nmodel_name_or_path: m\ndataset: d\noutput_dir: o\nlauncher: ray\nray_run_name: mine\n"
        "ray_storage_path: ./saves\nray_num_workers: 4\nplacement_strategy: SPREAD\nresources_per_worker:\n  GPU: 1\n"
        "ray_init_kwargs:\n  runtime_env:\n    pip: [emoji]\n"
    )
    options = make_plan(read_request([str(tmp_path / "run.yaml")]), host).launcher_options
    assert (options.ray_num_workers, options.placement_strategy) == (4, "SPREAD")
    assert options.resources_per_worker == {"GPU": 1}
    assert options.ray_init_kwargs == {"runtime_env": {"pip": ["emoji"]}}
    with pytest.raises(RequestError, match="GPU"):
        make_plan(read_request([str(tmp_path / "run.yaml"), "--resources_per_worker", '{"GPU": "all"}']), host)


def test_ranks_of_a_machine_stand_together_and_share_its_devices():
    from plugtune_launch_ray.placing import environments, in_order

    places = [
        {"node": "b", "address": "10.0.0.2", "port": 7, "devices": ["3"]},
        {"node": "a", "address": "10.0.0.1", "port": 8, "devices": ["0"]},
        {"node": "b", "address": "10.0.0.2", "port": 9, "devices": ["1"]},
    ]
    order = in_order(places)
    assert order == [0, 2, 1]
    found = environments([places[number] for number in order])
    assert [(e["RANK"], e["LOCAL_RANK"], e["LOCAL_WORLD_SIZE"]) for e in found] == [
        ("0", "0", "2"), ("1", "1", "2"), ("2", "0", "1"),
    ]  # fmt: skip
    assert [e["CUDA_VISIBLE_DEVICES"] for e in found] == ["3,1", "3,1", "0"], "LOCAL_RANK counts among these"
    assert {(e["MASTER_ADDR"], e["MASTER_PORT"], e["WORLD_SIZE"]) for e in found} == {("10.0.0.2", "7", "3")}
    assert environments(places, "host", 5)[2]["MASTER_ADDR"] == "host"


@pytest.mark.parametrize(
    ("codes", "status"), [([0, 0], 0), ([1, -15], 1), ([71, 2], 2), ([130, 130], 130), ([71, 1], 1), ([-15, 143], 143)]
)
def test_the_first_cause_counts(codes, status):
    assert exit_status(dict(enumerate(codes))) == status


def test_a_killed_process_is_named():
    with pytest.raises(RunError, match="process 1 was killed by SIGKILL"):
        exit_status({0: 71, 1: -signal.SIGKILL})


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mini(tmp_path_factory.mktemp("data"))


@pytest.fixture
def command(model_dir, data_dir):
    def make(output: Path, *extra: object) -> list[str]:
        args = [
            "train", "--do_train", "--model_name_or_path", model_dir, "--dataset", "mini", "--dataset_dir", data_dir,
            "--output_dir", output, "--learning_rate", "1e-2", "--logging_steps", 1, "--bf16", "false",
            "--per_device_train_batch_size", 2, *extra,
        ]  # fmt: skip
        return [str(arg) for arg in args]

    return make


RAY = {"USE_RAY": "1", "NPROC_PER_NODE": "2"}
FEW = ("--ray_init_kwargs", '{"num_cpus": 2, "object_store_memory": 100000000}')


def losses(output: Path) -> list[float]:
    lines = (output / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if "loss" in entry]


@needs_ray
@pytest.mark.e2e
@pytest.mark.long
def test_two_workers_do_what_two_processes_of_torchrun_do(command, plugtune, tmp_path):
    done = plugtune(*command(tmp_path / "torchrun", "--max_steps", 4), env={"NPROC_PER_NODE": "2"})
    assert done.returncode == 0, done.stderr
    done = plugtune(*command(tmp_path / "ray", "--max_steps", 4, "--ray_num_workers", 2, *FEW, "--json"), env=RAY)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "ray") == losses(tmp_path / "torchrun")
    report = json.loads(done.stdout)
    assert report["devices"]["processes"] == 2
    assert report["options"]["launcher"]["ray_num_workers"] == 2
    assert done.stderr.count("rows read") == 1
    assert len(done.stderr.splitlines()) < 40, done.stderr


@needs_ray
@pytest.mark.e2e
@pytest.mark.long
def test_a_run_that_the_cluster_cannot_hold_and_a_wrong_request_are_refused(command, plugtune, tmp_path):
    done = plugtune(*command(tmp_path / "run", "--ray_num_workers", 3, *FEW), env=RAY)
    assert done.returncode == 2
    assert "3 CPU wanted and 2 there" in done.stderr
    done = plugtune(*command(tmp_path / "run", "--dataset", "minni"), env=RAY)
    assert done.returncode == 2
    assert done.stderr.count("did you mean 'mini'") == 1


@needs_ray
@pytest.mark.e2e
@pytest.mark.long
def test_sigterm_saves_and_stops_every_process(command, tmp_path):
    args = command(tmp_path / "run", "--ray_num_workers", 2, *FEW, "--num_train_epochs", 500, "--save_steps", 100000)
    run = subprocess.Popen(
        [sys.executable, "-m", "plugtune", *args], env={**os.environ, **RAY, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log = tmp_path / "run" / "trainer_log.jsonl"
    end = time.monotonic() + 300
    while not (log.is_file() and log.stat().st_size) and time.monotonic() < end and run.poll() is None:
        time.sleep(0.5)
    run.send_signal(signal.SIGTERM)
    _, text = run.communicate(timeout=300)
    assert run.returncode == 128 + signal.SIGTERM, text
    assert "stopped by SIGTERM" in text
    assert list((tmp_path / "run").glob("checkpoint-*/manifest.json"))

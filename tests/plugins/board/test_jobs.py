"""Jobs outlive the board that started them, run one at a time, and end as they were asked to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from plugtune_app_board.jobs import Job, Jobs

SLEEPER = "import sys,time,pathlib; print('here', flush=True); time.sleep(float(sys.argv[1])); pathlib.Path(sys.argv[2]).write_text('done')"
STOPPABLE = (
    "import signal,sys,time,pathlib\n"
    "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[1]).write_text('saved'), sys.exit(0)))\n"
    "print('here', flush=True)\ntime.sleep(60)"
)


def _add(jobs: Jobs, work: Path, name: str, command: list[str]) -> Job:
    return jobs.add(
        "train",
        name,
        [sys.executable, "-c", *command],
        folder=work / name,
        log=work / f"{name}.log",
        proof=work / f"{name}.done",
        env={"ADDED": name},
    )


def _until(what: Any, seconds: float = 30) -> None:
    for _ in range(int(seconds * 20)):
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def _state(jobs: Jobs, job: Job) -> str:
    jobs.step()
    found = jobs.get(job.id)
    assert found is not None
    return found.state


@pytest.fixture
def jobs(tmp_path: Path) -> Any:
    made = Jobs(tmp_path / "jobs", tmp_path)
    yield made
    for job in made.all():
        if job.active:
            made.abort(job.id)


def test_one_runs_and_the_next_waits_for_it(jobs: Jobs, tmp_path: Path) -> None:
    first = _add(jobs, tmp_path, "a", [SLEEPER, "0.3", str(tmp_path / "a.done")])
    second = _add(jobs, tmp_path, "b", [SLEEPER, "0", str(tmp_path / "b.done")])
    assert (_state(jobs, first), _state(jobs, second)) == ("running", "queued")
    _until(lambda: _state(jobs, second) == "finished")
    assert _state(jobs, first) == "finished"
    assert (tmp_path / "a.log").read_text() == "here\n"


def test_a_board_that_is_started_again_finds_the_running_job_and_its_end(jobs: Jobs, tmp_path: Path) -> None:
    job = _add(jobs, tmp_path, "a", [SLEEPER, "1", str(tmp_path / "a.done")])
    again = Jobs(tmp_path / "jobs", tmp_path)
    assert _state(again, job) == "running"
    assert again.current().pid == job.pid
    _until(lambda: jobs._children[job.id].poll() is not None)
    assert _state(again, job) == "finished", "proved by the file it left"


def test_a_job_that_died_while_no_board_looked_has_failed(jobs: Jobs, tmp_path: Path) -> None:
    job = _add(jobs, tmp_path, "a", [SLEEPER, "60", str(tmp_path / "a.done")])
    os.kill(job.pid, signal.SIGKILL)
    jobs._children[job.id].wait()
    assert _state(Jobs(tmp_path / "jobs", tmp_path), job) == "failed"


def test_a_process_number_that_was_used_again_is_not_taken_for_the_job(jobs: Jobs, tmp_path: Path) -> None:
    job = _add(jobs, tmp_path, "a", [SLEEPER, "60", str(tmp_path / "a.done")])
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        job.pid, job.started = stranger.pid, psutil.Process(stranger.pid).create_time() - 100
        os.kill(jobs._children.pop(job.id).pid, signal.SIGKILL)
        jobs._write(job)
        again = Jobs(tmp_path / "jobs", tmp_path)
        assert _state(again, job) == "failed"
        again.abort(job.id)
        assert stranger.poll() is None, "a stranger's process was ended"
    finally:
        stranger.kill()
        stranger.wait()


def test_stop_lets_a_job_save_and_abort_ends_it_with_its_children(jobs: Jobs, tmp_path: Path) -> None:
    job = _add(jobs, tmp_path, "a", [STOPPABLE, str(tmp_path / "saved")])
    _until(lambda: (tmp_path / "a.log").read_text() == "here\n")
    jobs.stop(job.id)
    _until(lambda: _state(jobs, job) == "stopped")
    assert (tmp_path / "saved").read_text() == "saved"
    parent = "import subprocess,sys,time; c=subprocess.Popen([sys.executable,'-c','import time; time.sleep(60)'],start_new_session=True); print(c.pid,flush=True); time.sleep(60)"
    job = _add(jobs, tmp_path, "b", [parent])
    _until(lambda: (tmp_path / "b.log").read_text().strip())
    child = int((tmp_path / "b.log").read_text())
    jobs.abort(job.id)
    _until(lambda: _state(jobs, job) == "aborted")
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_waiting_job_leaves_the_queue(jobs: Jobs, tmp_path: Path) -> None:
    first = _add(jobs, tmp_path, "a", [SLEEPER, "60", str(tmp_path / "a.done")])
    second = _add(jobs, tmp_path, "b", [SLEEPER, "0", str(tmp_path / "b.done")])
    jobs.stop(second.id)
    jobs.abort(first.id)
    _until(lambda: _state(jobs, first) == "aborted")
    assert _state(jobs, second) == "stopped"
    assert not (tmp_path / "b.done").exists()


def test_a_job_sees_what_was_added_to_its_environment_and_no_secret_of_the_board(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUGTUNE_BOARD_TOKEN", "q7Zx")
    monkeypatch.setenv("PLUGTUNE_BOARD_AUTH", "me:q7Zx")
    job = _add(jobs, tmp_path, "a", ["import os; print(os.environ['ADDED'], 'q7Zx' in str(dict(os.environ)))"])
    _until(lambda: _state(jobs, job) == "finished")
    assert (tmp_path / "a.log").read_text().strip() == "a False"


def test_curves_are_read_while_they_are_written(tmp_path: Path) -> None:
    from plugtune_app_board import follow

    (tmp_path / "trainer_log.jsonl").write_text(
        '{"current_steps": 1, "total_steps": 4, "loss": 2.0, "reward": 0.1}\n{"current_steps": 2, "total_steps": 4, "loss": 1.0}\n'
        '{"current_steps": 2, "total_steps": 4, "loss": 0.5}\n{"current_ste'
    )
    log = follow.points(tmp_path)
    assert follow.series(log, "loss") == [(1, 2.0), (2, 0.5)], "a step that was done again counts once"
    assert follow.metrics(log) == ["loss", "reward"]
    assert follow.progress(tmp_path).step == 2
    assert follow.smooth([3.0, 3.0, 3.0], 0.9) == pytest.approx([3.0, 3.0, 3.0]), "no pull towards zero at the start"


def test_a_chart_holds_every_point_in_its_place() -> None:
    import re

    from plugtune_app_board.chart import HEIGHT, WIDTH, Line, svg

    drawn = svg([Line("<loss>", [(0, 1.0), (5, 2.0), (10, float("nan")), (10, 3.0)], "red")], "step", "empty")
    (points,) = re.findall(r' points="([^"]+)"/>', drawn)
    xs, ys = zip(*[tuple(map(float, p.split(","))) for p in points.split()], strict=True)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])
    assert ys[0] > ys[1] > ys[2]
    assert 0 < min(xs) < max(xs) <= WIDTH
    assert 0 < min(ys) < max(ys) <= HEIGHT
    assert "<loss>" not in drawn
    assert 'data-points="0"' in svg([], "step", "empty")

"""The worked examples of docs/examples, built as wheels and installed: a company's data, and a plugin for each hook."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
CALLS = [
    ("My line is dead, call me at +49 170 1234567.", "We check it.", "Be kind.", "no"),
    ("Hello?", "Write to help@example.org or use card 4111 1111 1111 1111.", "", "no"),
    ("This is private.", "Yes.", "", "yes"),
    ("How much is it?", "", "", "no"),
    ("Good morning.", "Good morning!", "", ""),
]
HEAD = ("caller_text", "agent_text", "briefing", "private")


@pytest.fixture(scope="module")
def company(environment):
    environment.install(ROOT / "docs" / "examples" / "call-centre")
    return environment


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("company")
    rows = [dict(zip(HEAD, call, strict=True)) for call in CALLS]
    with (folder / "calls.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEAD)
        writer.writeheader()
        writer.writerows(rows)
    (folder / "calls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), folder / "calls.parquet")
    with sqlite3.connect(folder / "calls.db") as base:
        base.execute(f"CREATE TABLE calls (id INTEGER PRIMARY KEY, {' TEXT, '.join(HEAD)} TEXT)")
        base.executemany("INSERT INTO calls VALUES (NULL, ?, ?, ?, ?)", CALLS)
    entries = {
        name: {"file_name": f"calls.{name}", "formatting": "call-centre"} for name in ("csv", "jsonl", "parquet")
    }
    source = {"source_options": {"table": "calls"}, "formatting": "call-centre"}
    entries["sqlite"] = {"source": f"sqlite:///{folder / 'calls.db'}", **source}
    (folder / "dataset_info.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder


def check(environment, data, name, **env):
    done = environment.plugtune("data", "check", name, "--dataset_dir", data, "--json", **env)
    assert done.returncode == 2, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["csv", "jsonl", "parquet", "sqlite"])
def test_every_row_of_every_export_is_accounted_for_and_masked(company, data, name, tmp_path):
    audit = tmp_path / "audit.jsonl"
    report = check(company, data, name, PLUGTUNE_CALL_AUDIT=str(audit))
    assert (report["read"], report["good"], report["bad"]) == (5, 3, 1)
    assert report["dropped"] == {"the call is private": {"rows": 1, "first_rows": [3]}}
    assert report["changed"] == {"plugin call-centre": {"rows": 2, "first_rows": [1, 2]}}
    assert "agent_text" in report["first_bad"][0]
    lines = [json.loads(line) for line in audit.read_text(encoding="utf-8").splitlines()]
    assert [(line["row"], line["masked"]) for line in lines] == [(1, {"phone": 1}), (2, {"email": 1, "card": 1})]
    assert "4111" not in audit.read_text(encoding="utf-8")
    shown = company.plugtune("data", "preview", name, "--dataset_dir", data, "--rows", 5).stdout
    assert "[phone]" in shown
    assert "4111" not in shown
    assert "left out: the call is private" in shown


@pytest.mark.parametrize("name", ["call-centre", "hooks"])
def test_its_own_tests_pass_on_the_wheel(company, tmp_path, name):
    company.install(ROOT / "docs" / "examples" / name)
    tests = ROOT / "docs" / "examples" / name / "tests"
    done = company.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tests, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    """A server of Debian's packages on a socket of its own; started as user postgres, which it insists on."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found or os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("no PostgreSQL server of Debian's packages can be started here")
    folder = Path(
        subprocess.run(
            ["mktemp", "-d", "/tmp/plugtune-pg-XXXXXX"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )
    shutil.chown(folder, "postgres", "postgres")

    def run(*args: object) -> None:
        user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        subprocess.run([*user, *map(str, args)], check=True, capture_output=True, cwd=folder, env={"LC_ALL": "C"})

    run(
        found[-1],
        "-D",
        folder / "db",
        "-E",
        "UTF8",
        "-A",
        "scram-sha-256",
        "-U",
        "reader",
        "--pwfile",
        _password(folder),
    )
    control = found[-1].with_name("pg_ctl")
    run(
        control,
        "-D",
        folder / "db",
        "-w",
        "-o",
        f"-c listen_addresses= -c unix_socket_directories={folder} -F",
        "-l",
        folder / "log",
        "start",
    )
    yield folder
    run(control, "-D", folder / "db", "-m", "immediate", "stop")
    shutil.rmtree(folder)


def _password(folder: Path) -> Path:
    file = folder / "password"
    file.write_text("hush\n")
    shutil.chown(file, "postgres", "postgres")
    return file


def test_rows_come_from_postgresql_with_a_secret_that_is_written_nowhere(company, postgres, data, tmp_path):
    import psycopg

    company.install(ROOT / "docs" / "examples" / "hooks")
    with psycopg.connect(host=str(postgres), user="reader", password="hush", dbname="postgres") as base:
        base.execute(f"CREATE TABLE calls (id SERIAL PRIMARY KEY, {' TEXT, '.join(HEAD)} TEXT)")
        base.cursor().executemany(f"INSERT INTO calls ({', '.join(HEAD)}) VALUES (%s, %s, %s, %s)", CALLS)
    address = f"postgresql+psycopg://reader:${{secret:calls}}@/postgres?host={postgres}"
    entry = {
        "source": address,
        "source_options": {"query": "SELECT * FROM calls", "order_by": "id"},
        "formatting": "call-centre",
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps({"calls": entry}))
    refused = company.plugtune("data", "check", "calls", "--dataset_dir", tmp_path)
    assert refused.returncode == 2
    assert "secret 'calls'" in refused.stderr
    secrets = tmp_path / "secrets"
    secrets.write_text("calls=hush\n")
    secrets.chmod(0o600)
    report = check(company, tmp_path, "calls", EXAMPLE_SECRETS=str(secrets))
    assert (report["read"], report["good"], report["bad"]) == (5, 3, 1)
    assert "hush" not in json.dumps(report)
    wrong = company.plugtune("data", "check", "calls", "--dataset_dir", tmp_path, EXAMPLE_SECRETS=str(_wrong(tmp_path)))
    assert wrong.returncode == 2
    assert "password authentication failed" in wrong.stderr
    assert "***" in wrong.stderr
    assert "no-hush" not in wrong.stderr


def _wrong(folder: Path) -> Path:
    file = folder / "wrong"
    file.write_text("calls=no-hush\n")
    file.chmod(0o600)
    return file


def test_every_run_time_hook_acts_and_a_changed_plugin_is_noticed(company, model_dir, tmp_path):
    company.install(ROOT / "docs" / "examples" / "hooks")
    rows = [{"instruction": f"Q{n}", "output": f"A{n}" + (" https://x.org" if n == 3 else "")} for n in range(12)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    out = tmp_path / "out"
    train = [
        "train", "--stage", "sft", "--do_train", "--do_predict", "--predict_with_generate", "--max_new_tokens", "4",
        "--model_name_or_path", model_dir, "--dataset", tmp_path / "rows.json", "--val_size", "2", "--output_dir", out,
        "--finetuning_type", "full", "--max_steps", "4", "--save_steps", "2", "--logging_steps", "1", "--bf16", "false",
    ]  # fmt: skip
    refused = company.plugtune(*train, EXAMPLE_MOST_STEPS="2")
    assert refused.returncode == 2
    assert "at most 2 steps" in refused.stderr
    env = {
        "EXAMPLE_LOG": str(tmp_path / "log"), "EXAMPLE_BOOK": str(tmp_path / "book"), "EXAMPLE_NO_LINKS": "1", "EXAMPLE_FREEZE": "1",
        "EXAMPLE_STOP_AT": "0.000001",
    }  # fmt: skip
    done = company.plugtune(*train, "--trace-hooks", **env)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((out / "run.json").read_text())
    assert report["data"]["sets"][0]["dropped"] == {
        "plugin example-filter: it holds a link": {"rows": 1, "first_rows": [4]}
    }
    assert report["metrics"]["predict_answer_characters"] >= 0
    assert {"what": "input embeddings", "value": "frozen", "why": "plugin example-freeze"} in report["choices"]
    assert report["policy"]["network"] == "on"
    assert [json.loads(line)["current_steps"] for line in (tmp_path / "log").read_text().splitlines()][:4] == [
        1,
        2,
        3,
        4,
    ]
    assert (tmp_path / "book").read_text() == f"{out} sft\n"
    for hook in ("configure_run", "model_loaded", "callbacks", "filter_record", "log", "metrics", "run_finished"):
        assert any(line.startswith(f"hook plugtune_{hook}: ") for line in done.stderr.splitlines()), hook
    used = {p["name"]: p["used"] for p in json.loads((out / "plugins.json").read_text())["plugins"]}
    assert "stage sft" in used["stage-sft"]
    assert "hook plugtune_log" in used["example-log"]
    # Another version of a plugin that acts: the run is not taken up again unless told.
    (site,) = (company.folder / "lib").glob("python*/site-packages")
    module = site / "plugtune_hooks_example" / "log_file.py"
    before = module.read_text(encoding="utf-8")
    try:
        module.write_text(before + "# another version\n", encoding="utf-8")
        again = [*train, "--resume_from_checkpoint", "true"]
        stopped = company.plugtune(*again)
        assert stopped.returncode == 2
        assert "plugin example-log 1.0.0 has other files now" in stopped.stderr
        assert "--allow_plugin_change" in stopped.stderr
        assert company.plugtune(*again, "--allow_plugin_change", "true", **env).returncode == 0
    finally:
        module.write_text(before, encoding="utf-8")

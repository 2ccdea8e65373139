"""Two hundred installed plugins of which some do the worst: the program starts, lists each with its reason, goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_host import TEMPLATE, install

GOOD = """
import plugtune
@plugtune.hookimpl
def plugtune_templates():
    return [plugtune.ChatTemplate(name="{name}", summary="healthy")]
"""

BAD = {
    "raises": ("raise RuntimeError('out of paper')", "RuntimeError: out of paper"),
    "syntax": ("def broken(:", "SyntaxError"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt", "ended the process while it was imported"),
    "dies": ("import os; os._exit(7)", "ended the process while it was imported (status 7)"),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "hangs": ("import time; time.sleep(600)", "did not finish importing within 1 second"),
    "hook": ("import plugtune\n@plugtune.hookimpl\ndef plugtune_templates(wrong): return []", "wrong"),
    "unknown-hook": ("import plugtune\n@plugtune.hookimpl\ndef plugtune_nonsense(): return []", "plugtune_nonsense"),
    "type": ("import plugtune\n@plugtune.hookimpl\ndef plugtune_templates(): return ['x']", "not a ChatTemplate"),
    "no-list": ("import plugtune\n@plugtune.hookimpl\ndef plugtune_templates(): return 7", "must return a list"),
    "missing": ("import a_module_that_is_not_there", "ModuleNotFoundError"),
}
MESSY = {
    "cwd": ("import os; os.chdir('/')", "the working directory"),
    "environment": ("import os; os.environ['HF_HOME'] = '/x'; os.environ.pop('HOME', None)", "the environment (HF_HOME, HOME)"),
    "path": ("import sys; sys.path.insert(0, '/nowhere')", "sys.path"),
    "warnings": ("import warnings; warnings.simplefilter('error')", "warning filters"),
    "stdout": ("import sys, io; sys.stdout = io.StringIO(); print('noise')", "sys.stdout"),
    "print": ("print('{not json')", ""),
    "builtins": ("import builtins; builtins.open = None", "built-in names"),
    "signals": ("import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)", "signal handlers"),
    "thread": ("import threading, time; threading.Thread(target=time.sleep, args=(9,), daemon=True, name='busy').start()", "busy"),
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("failures")
    site = folder / "site"
    for name, (code, _) in BAD.items():
        install(site, f"bad-{name}", code)
    for name, (code, _) in MESSY.items():
        install(site, f"messy-{name}", code + "\n" + GOOD.replace("{name}", f"messy-{name}"))
    install(site, "old-range", TEMPLATE, requires="pluggy>=99")
    install(site, "not-there", TEMPLATE, requires="a-distribution-that-is-not-there>=1")
    install(site, "future", TEMPLATE, api="v9_0")
    install(site, "twin-one", TEMPLATE)
    install(site, "twin-two", TEMPLATE)
    broken = site / "broken_metadata-1.0.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_text("[plugtune]\nbroken = nothing\n")
    for number in range(200 - len(list(site.glob("*.dist-info")))):
        install(site, f"fine-{number}", GOOD.replace("{name}", f"fine-{number}"))
    return site


def call(site: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "PYTHONPATH": str(site),
        "PLUGTUNE_CACHE_DIR": str(site.parent / "cache"),
        "PLUGTUNE_IMPORT_SECONDS": "1",
    }
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **settings, **env},
        timeout=120,
    )


def test_the_program_starts_and_every_failure_is_listed_with_its_reason(site):
    done = call(site, "-m", "plugtune", "plugins", "--json")
    assert done.returncode == 0, done.stderr
    plugins = {p["name"]: p for p in json.loads(done.stdout)}
    for name, (_, reason) in BAD.items():
        assert plugins[f"bad-{name}"]["status"] == "failed", name
        assert reason in plugins[f"bad-{name}"]["reason"], name
    assert (
        plugins["old-range"]["status"]
        == plugins["not-there"]["status"]
        == plugins["future"]["status"]
        == "incompatible"
    )
    assert any("metadata cannot be read" in p["reason"] for p in plugins.values())
    fine = [p for name, p in plugins.items() if name.startswith(("fine-", "messy-"))]
    assert {p["status"] for p in fine} == {"ok"}


def test_what_a_plugin_changed_is_undone_and_named(site):
    plugins = {p["name"]: p for p in json.loads(call(site, "-m", "plugtune", "plugins", "--json").stdout)}
    for name, (_, words) in MESSY.items():
        assert words in "; ".join(plugins[f"messy-{name}"]["notes"]), name
    code = (
        "import os, sys, json, warnings, builtins, io; before = (os.getcwd(), dict(os.environ), list(sys.path), sys.stdout, open)\n"
        "from plugtune.plugins.host import PluginHost\nPluginHost().load()\n"
        "print(before == (os.getcwd(), dict(os.environ), list(sys.path), sys.stdout, open))"
    )
    assert call(site, "-c", code).stdout.strip() == "True"


def test_healthy_plugins_work_beside_them(site):
    shown = call(site, "-m", "plugtune", "show", "template", "fine-3")
    assert shown.returncode == 0, shown.stderr
    assert "healthy" in shown.stdout
    contested = call(site, "-m", "plugtune", "show", "template", "contested")
    assert contested.returncode == 2
    assert "dist-twin-one" in contested.stderr
    assert "dist-twin-two" in contested.stderr


def test_listings_stay_fast(site):
    def cpu(*args: str) -> float:
        process = subprocess.Popen(
            [sys.executable, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(site), "PLUGTUNE_CACHE_DIR": str(site.parent / "cache")},
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_utime + usage.ru_stime

    call(site, "-m", "plugtune", "list")
    started = time.monotonic()
    bare = min(cpu("-c", "import click, pluggy, json, hashlib") for _ in range(3))
    # Processor time over that of the libraries alone, so that a loaded machine slows both.
    assert min(cpu("-m", "plugtune", "list") for _ in range(3)) < 3 * bare + 0.05
    assert min(cpu("-m", "plugtune", "--help") for _ in range(3)) < 3 * bare + 0.05
    assert time.monotonic() - started < 60


def test_a_plugin_of_files_only_needs_no_python(site):
    package = site / "only_files"
    (package / "templates").mkdir(parents=True)
    (package / "templates" / "quiet.yaml").write_text(
        'summary: "no code"\nuser: "Q {{content}} A "\nassistant: "{{content}}|"\n'
    )
    info = site / "only_files-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: only-files\nVersion: 1.0\nSummary: files\n")
    (info / "entry_points.txt").write_text("[plugtune]\nonly-files = only_files\n")
    assert "no code" in call(site, "-m", "plugtune", "show", "template", "quiet").stdout
    (package / "templates" / "quiet.yaml").unlink()
    (package / "templates").rmdir()
    plugins = {p["name"]: p for p in json.loads(call(site, "-m", "plugtune", "plugins", "--json").stdout)}
    assert plugins["only-files"]["status"] == "failed"
    assert "it is empty" in plugins["only-files"]["reason"]

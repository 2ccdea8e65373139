"""The commands of README and docs run, or say what they need; the site builds without network.

In a page `<!-- run -->` stands before a block of commands that runs, `<!-- file: NAME -->` before the content of a file.
"""

from __future__ import annotations

import os
import re
import runpy
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


PART = re.compile(r"<!-- (run|file: (?P<name>\S+)) -->\n```\w+\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
# Pages about runs on several processes and about resuming have tests of their own (tests/e2e/test_pages.py).
OWN_TESTS = ("distributed.md", "resume.md")
PAGES = sorted(
    p.relative_to(ROOT / "docs").as_posix()
    for p in (ROOT / "docs").rglob("*.md")
    if p.name not in OWN_TESTS and "<!-- run -->" in p.read_text("utf-8")
)


# Pages whose plugins are trained, exported or made by the kit take minutes; the others run with every `make test`.
SLOW = ("family.md", "stage.md", "exporter.md", "template.md")


@pytest.mark.e2e
@pytest.mark.parametrize("page", [pytest.param(p, marks=pytest.mark.long) if p.endswith(SLOW) else p for p in PAGES])
def test_the_commands_of_a_page_run_one_after_another(page, tmp_path):
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "plugtune").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m plugtune "$@"\n')
    (binaries / "plugtune").chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    env = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    for part in PART.finditer((ROOT / "docs" / page).read_text(encoding="utf-8")):
        if part["name"]:
            (work / part["name"]).parent.mkdir(parents=True, exist_ok=True)
            (work / part["name"]).write_text(part["body"], encoding="utf-8")
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", part["body"]],
            cwd=work,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{part['body']}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_a_block_that_no_test_runs_says_so_on_the_site():
    marked = runpy.run_path(str(ROOT / "scripts" / "site_marks.py"))["marked"]
    block = "```bash\nplugtune train\n```\n"
    assert marked(f"Text.\n\n{block}") == f"Text.\n\n*Not run by the tests.*\n\n{block}"
    for before in ("<!-- run -->", "*Needs a GPU.*"):
        assert marked(f"{before}\n{block}") == f"{before}\n{block}"


def test_the_reference_holds_every_command_option_and_hook(tmp_path):
    subprocess.run([sys.executable, ROOT / "scripts" / "reference.py", tmp_path], check=True)
    from plugtune import hookspecs
    from plugtune.cli.main import COMMANDS
    from plugtune.options.groups import TRAIN_GROUPS
    from plugtune.options.schema import specs_of

    commands, options, hooks = ((tmp_path / f"{n}.md").read_text("utf-8") for n in ("commands", "options", "hooks"))
    assert all(f"## plugtune {name}\n" in commands for name in COMMANDS)
    assert "### plugtune data convert" in commands
    assert all(f"| `{spec.name}` |" in options for group in TRAIN_GROUPS.values() for spec in specs_of(group))
    assert "| `lora_rank` |" in options
    assert all(f"### {name}\n" in hooks for name in vars(hookspecs) if name.startswith("plugtune_"))


@pytest.mark.e2e
def test_the_site_builds_without_network_and_without_warnings(tmp_path):
    env = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    subprocess.run([sys.executable, ROOT / "scripts" / "reference.py"], check=True)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", tmp_path / "site"], cwd=ROOT, env=env,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in (
        "index.html",
        "zh/tutorial/index.html",
        "ru/index.html",
        "authors/format/index.html",
        "reference/hooks/index.html",
    ):
        assert (tmp_path / "site" / page).is_file(), page
    text = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "fonts.googleapis" not in text

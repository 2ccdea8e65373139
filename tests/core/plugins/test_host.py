"""Plugins are found, judged before import, kept apart when they fail, and never silent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from plugtune.errors import PluginError
from plugtune.plugins.host import PluginHost
from plugtune.plugins.policy import Policy

CODE = """
import json
from plugtune.plugins.host import PluginHost
from plugtune.errors import PlugtuneError
host = PluginHost().load()
answer = {p.name: [p.status, p.reason, bool(p.trace)] for p in host.plugins if p.name.startswith("t-")}
try:
    host.catalog.get("template", "contested")
except PlugtuneError as error:
    answer["contested"] = str(error)
print(json.dumps(answer))
"""

TEMPLATE = """
import plugtune
@plugtune.hookimpl
def plugtune_templates():
    return [plugtune.ChatTemplate(name="contested")]
"""


def install(site: Path, name: str, code: str, *, api: str = "v1_0", requires: str = "") -> Path:
    """A distribution with one plugin, as an installer would leave it."""
    module = f"plug_{name.replace('-', '_')}"
    package = site / module
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(code, encoding="utf-8")
    info = site / f"dist_{module}-1.0.dist-info"
    info.mkdir()
    requirement = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 1.0\nSummary: {name}\n{requirement}", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text(
        f"[plugtune]\n{name} = {module}\n\n[plugtune.api]\n{name} = {api}\n", encoding="utf-8"
    )
    return package


@pytest.fixture
def run(tmp_path: Path):
    def call(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *args], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PLUGTUNE_CACHE_DIR": str(tmp_path / "cache"), **env},
        )  # fmt: skip

    return call


def test_failing_plugins_are_reported_and_the_rest_goes_on(tmp_path: Path, run):
    site = tmp_path / "site"
    install(site, "t-good", TEMPLATE)
    install(site, "t-raises", "raise RuntimeError('out of paper')")
    install(site, "t-exits", "raise SystemExit(3)")
    install(site, "t-syntax", "def broken(:")
    install(site, "t-api", TEMPLATE, api="v9_0")
    install(site, "t-old", TEMPLATE, requires="pluggy>=99")
    install(site, "t-hook", "import plugtune\n@plugtune.hookimpl\ndef plugtune_templates(wrong): return []")
    install(site, "t-type", "import plugtune\n@plugtune.hookimpl\ndef plugtune_templates(): return ['x']")
    answer = json.loads(run("-c", CODE).stdout)
    assert answer["t-good"][0] == "ok"
    assert answer["t-raises"] == ["failed", "RuntimeError: out of paper", True]
    assert {answer[n][0] for n in ("t-exits", "t-syntax", "t-hook", "t-type")} == {"failed"}
    assert answer["t-api"][0] == "incompatible"
    assert "plugin API 9.0" in answer["t-api"][1]
    assert answer["t-old"][0] == "incompatible"
    assert 'pip install "pluggy>=99"' in answer["t-old"][1]


def test_denied_and_incompatible_plugins_are_never_imported(tmp_path: Path, run):
    touched = tmp_path / "touched"
    code = f"open({str(touched)!r}, 'a').write(__name__)"
    install(tmp_path / "site", "t-denied", code)
    install(tmp_path / "site", "t-api", code, api="v2")
    answer = json.loads(run("-c", CODE, PLUGTUNE_PLUGINS_DENY="t-den*").stdout)
    assert answer["t-denied"][0] == "blocked"
    assert "denied by 't-den*'" in answer["t-denied"][1]
    assert not touched.exists()


def test_a_policy_file_that_cannot_be_read_stops_the_program(tmp_path: Path, run):
    broken = tmp_path / "policy.yaml"
    broken.write_text("allow: [x\n", encoding="utf-8")
    done = run("-m", "plugtune", "list", PLUGTUNE_POLICY=str(broken))
    assert done.returncode == 2
    assert "policy.yaml" in done.stderr
    assert "cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_with_two_owners_names_both_and_can_be_settled(tmp_path: Path, run):
    install(tmp_path / "site", "t-one", TEMPLATE)
    install(tmp_path / "site", "t-two", TEMPLATE)
    answer = json.loads(run("-c", CODE).stdout)
    assert "dist-t-one 1.0" in answer["contested"]
    assert "dist-t-two 1.0" in answer["contested"]
    assert "contested" not in json.loads(run("-c", CODE, PLUGTUNE_PREFER="template:contested=t-two").stdout)


def test_listings_notice_a_changed_plugin_and_load_none_otherwise(tmp_path: Path, run):
    package = install(tmp_path / "site", "t-one", TEMPLATE + f"\nopen({str(tmp_path / 'loads')!r}, 'a').write('x')")
    for _ in range(3):
        assert "contested" in run("-m", "plugtune", "list", "templates").stdout
    assert (tmp_path / "loads").read_text() == "x"
    (package / "__init__.py").write_text(TEMPLATE.replace("contested", "renamed"), encoding="utf-8")
    listed = run("-m", "plugtune", "list", "templates").stdout
    assert "renamed" in listed
    assert "contested" not in listed


def test_workers_are_held_to_the_plugins_of_the_process_that_started_them(tmp_path: Path, run):
    install(tmp_path / "site", "t-one", TEMPLATE)
    lock = run("-c", "from plugtune.plugins.host import PluginHost; print(PluginHost().load().lock())").stdout.strip()
    code = "from plugtune.plugins.host import PluginHost; PluginHost().load()"
    assert run("-c", code, PLUGTUNE_PLUGINS_LOCK=lock).returncode == 0
    install(tmp_path / "site", "t-two", "")
    done = run("-c", code, PLUGTUNE_PLUGINS_LOCK=lock)
    assert done.returncode != 0
    assert "t-two" in done.stderr


HEAVY = ("torch", "transformers", "datasets", "peft", "trl", "pandas", "numpy", "gradio")


@pytest.mark.parametrize(
    "args", [["--help"], ["list"], ["list", "models"], ["plugins"], ["train", "--help"], ["export", "--help"]]
)
def test_help_and_listings_import_nothing_heavy(run, args):
    code = f"import sys; from plugtune.cli.main import run; run({args!r}); print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    done = run("-c", code)
    assert done.stderr.strip().splitlines()[-1] == "[]", done.stderr


def test_importing_any_official_plugin_is_cheap(run, host):
    names = [p.module for p in host.plugins]
    code = f"import importlib, sys\nfor n in {names!r}: importlib.import_module(n)\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    assert run("-c", code).stdout.strip() == "[]"


def test_a_missing_piece_names_the_distribution_to_install():
    bare = PluginHost(plugins=[], policy=Policy()).load()
    with pytest.raises(PluginError, match="pip install plugtune-stage-sft"):
        bare.catalog.get("stage", "sft")


def test_options_of_plugins_appear_in_help(plugtune):
    text = plugtune("train", "--help").stdout
    assert "method lora options (plugin method-lora)" in text
    assert "--lora_rank INT" in text

"""An administrator's policy and lock files: who may load, what may run, and what is refused where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from plugtune.errors import PluginError, RequestError
from plugtune.plugins.host import PluginHost
from plugtune.plugins.policy import Policy, read_policy
from test_host import TEMPLATE, install

HASH = "0" * 64


def policy(tmp_path: Path, text: str) -> Policy:
    file = tmp_path / "policy.yaml"
    file.write_text(text, encoding="utf-8")
    return read_policy({"PLUGTUNE_POLICY": str(file)})


@pytest.fixture
def run(tmp_path: Path):
    def call(*args: str, policy: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        settings = {"PYTHONPATH": str(tmp_path / "site"), "PLUGTUNE_CACHE_DIR": str(tmp_path / "cache"), **env}
        if policy:
            (tmp_path / "policy.yaml").write_text(policy, encoding="utf-8")
            settings["PLUGTUNE_POLICY"] = str(tmp_path / "policy.yaml")
        return subprocess.run(
            [sys.executable, *args], capture_output=True, text=True, check=False, env={**os.environ, **settings}, cwd=tmp_path
        )  # fmt: skip

    return call


@pytest.mark.parametrize(
    ("text", "version", "verdict"),
    [
        ("allow: [acme-*]", "1.0", ""),
        ("allow: [other-*]", "1.0", "not on the allow list"),
        ("allow: ['acme-x>=1,<2']", "1.5", ""),
        ("allow: ['acme-x>=1,<2']", "2.0", "2.0 is installed and >=1,<2 is meant"),
        ("deny: ['acme-x<1.2']", "1.1", "denied by 'acme-x<1.2'"),
        ("deny: ['acme-x<1.2']", "1.2", ""),
        (f"allow: [{{name: acme-x, hash: '{HASH}'}}]", "1.0", ""),
        (f"allow: [{{name: acme-x, hash: '{'1' * 64}'}}]", "1.0", "its files have the hash 000000000000"),
        (f"allow: [{{name: acme-x, hash: '{'1' * 64}'}}, {{name: acme-x, version: '==1.0'}}]", "1.0", ""),
    ],
)
def test_lists_name_plugins_by_distribution_version_and_hash(tmp_path, text, version, verdict):
    found = policy(tmp_path, text).verdict("x", "acme-x", version, lambda: HASH)
    assert verdict in found
    assert bool(verdict) == bool(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alow: [x]", ["unknown key 'alow'", "'allow'"]),
        ("allow: x", ["allow must be a list"]),
        ("allow: ['x >> 1']", [">> 1", "version range"]),
        ("allow: [{name: x, hash: abc}]", ["'abc' is no SHA-256", "plugins lock"]),
        ("allow: [{name: x, versions: '1'}]", ["versions", "'version'"]),
        ("trust_remote_code: sometimes", ["'sometimes'", "never"]),
        ("network: 7", ["network is 7"]),
        ("hubs: huggingface", ["hubs must be a list"]),
        ("- x", ["must be a mapping"]),
    ],
)
def test_a_policy_that_is_not_understood_stops_the_program(tmp_path, text, words):
    with pytest.raises(RequestError) as caught:
        policy(tmp_path, text)
    assert all(word in str(caught.value) for word in (*words, "policy.yaml")), caught.value


def test_a_plugin_with_other_files_than_the_list_has_is_not_imported(tmp_path, run):
    touched = tmp_path / "touched"
    install(tmp_path / "site", "t-one", f"open({str(touched)!r}, 'a').write('x')\n" + TEMPLATE)
    done = run(
        "-m", "plugtune", "plugins", "--json", policy=f"allow: ['plugtune-*', {{name: dist-t-one, hash: '{HASH}'}}]"
    )
    found = {p["name"]: p for p in json.loads(done.stdout)}
    assert found["t-one"]["status"] == "blocked"
    assert not touched.exists()
    from plugtune.plugins.files import tree_hash

    right = tree_hash(str(tmp_path / "site" / "plug_t_one"))
    done = run(
        "-m", "plugtune", "plugins", "--json", policy=f"allow: ['plugtune-*', {{name: dist-t-one, hash: '{right}'}}]"
    )
    assert {p["name"]: p for p in json.loads(done.stdout)}["t-one"]["status"] == "ok"


@pytest.mark.e2e
def test_code_of_model_repositories_is_refused_whatever_is_asked(tmp_path, run, model_dir):
    done = run(
        "-m", "plugtune", "chat", "--model_name_or_path", str(model_dir), "--trust_remote_code", "true", "--prompt", "x",
        policy="trust_remote_code: never",
    )  # fmt: skip
    assert done.returncode == 2
    assert "trust_remote_code: never" in done.stderr


def test_a_hub_that_is_not_allowed_is_refused_by_name(tmp_path):
    import plugtune_hub_huggingface

    host = PluginHost([("hub-huggingface", plugtune_hub_huggingface)], policy(tmp_path, "hubs: [company]")).load()
    with pytest.raises(PluginError, match=r"allows the hubs company"):
        host.catalog.get("hub", "huggingface")
    assert host.catalog.all("hub") == []


def test_network_off_refuses_other_machines_and_allows_this_one_in_every_process(tmp_path, run):
    code = """
import multiprocessing, os, socket, sys
from plugtune.plugins.host import PluginHost
PluginHost().load()
def attempt():
    server = socket.create_server(("127.0.0.1", 0))
    socket.create_connection(server.getsockname()).close()
    for call in (lambda: socket.create_connection(("192.0.2.1", 9), 1), lambda: socket.getaddrinfo("example.org", 80)):
        try:
            call()
        except PermissionError as error:
            print(error, flush=True)
attempt()
child = multiprocessing.get_context("fork").Process(target=attempt)
child.start(); child.join()
print(os.environ["HF_HUB_OFFLINE"])
"""
    said = run("-c", code, policy="network: off").stdout.splitlines()
    assert len(said) == 5
    assert all("the network is off (policy file" in line for line in said[:4])
    assert said[4] == "1"


@pytest.mark.e2e
def test_doctor_shows_the_policy(run):
    report = json.loads(run("-m", "plugtune", "doctor", "--json", policy="hubs: [huggingface]\nnetwork: off").stdout)
    assert report["policy"]["hubs"] == ["huggingface"]
    assert report["policy"]["network"] == "off"
    assert len(report["policy"]["sha256"]) == 64


def test_a_lock_file_is_compared_plugin_by_plugin(tmp_path, run):
    package = install(tmp_path / "site", "t-one", TEMPLATE)
    install(tmp_path / "site", "t-two", "")
    assert run("-m", "plugtune", "plugins", "lock").returncode == 0
    assert run("-m", "plugtune", "plugins", "verify").returncode == 0
    (package / "__init__.py").write_text(TEMPLATE + "# edited\n")
    info = tmp_path / "site" / "dist_plug_t_two-1.0.dist-info"
    (info / "METADATA").write_text((info / "METADATA").read_text().replace("Version: 1.0", "Version: 1.1"))
    (info / "entry_points.txt").write_text("[plugtune]\nt-two = plug_t_two \n\n[plugtune.api]\nt-two = v1_0\n")
    install(tmp_path / "site", "t-three", "")
    done = run("-m", "plugtune", "plugins", "verify", "--json")
    assert done.returncode == 1
    said = json.loads(done.stdout)["differences"]
    assert len(said) == 3
    assert any("plugin t-one 1.0 has other files now" in text for text in said)
    assert any("plugin t-two was dist-t-two 1.0 and is dist-t-two 1.1" in text for text in said)
    assert any("plugin t-three 1.0 was not there then" in text for text in said)
    assert run("-m", "plugtune", "plugins", "verify", "nothing.lock").returncode == 2


def test_hooks_are_traced_with_plugin_order_and_time(run, tmp_path):
    install(tmp_path / "site", "t-one", TEMPLATE)
    done = run("-m", "plugtune", "show", "template", "contested", "--trace-hooks")
    assert done.returncode == 0, done.stderr
    assert any(
        line.startswith("hook plugtune_templates: t-one ") and line.endswith(" ms") for line in done.stderr.splitlines()
    )
    assert "hook " not in run("-m", "plugtune", "show", "template", "contested").stderr


def test_a_deprecated_hook_is_noted_with_the_plugins_name(monkeypatch):
    import types

    import plugtune
    from plugtune import hookspecs

    monkeypatch.setitem(hookspecs.DEPRECATED, "plugtune_callbacks", "return them from plugtune_stages instead")
    module = types.SimpleNamespace(__name__="old", plugtune_callbacks=plugtune.hookimpl(lambda plan: []))
    with pytest.warns(DeprecationWarning, match=r"plugin old-one \(old-one 0\) implements plugtune_callbacks"):
        host = PluginHost([("old-one", module)], Policy()).load()
    assert "return them from plugtune_stages instead" in host.plugins[0].notes[0]

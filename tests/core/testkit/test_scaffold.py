"""`plugtune new` writes what it promises, or says why not."""

from __future__ import annotations

import json

import pytest
from plugtune.cli.main import run


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["template", "Two Words"], ["no name for a plugin", "plugtune new template two-words"]),
        (["template", "9lives"], ["starts with a letter"]),
        (["templat", "x"], ["unknown kind 'templat'", "'template'"]),
        (["template", "chatml"], ["taken by plugin contrib-templates", "my-chatml"]),
        (["format", "alpaca"], ["taken by plugin format-standard"]),
        (["family", "new", "--model-type", "llama"], ["claimed by family llama"]),
        (["format", "new", "--model-type", "llama"], ["only families"]),
    ],
)
def test_wrong_requests_are_told(args, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["new", *args]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["new", "format", "calls"]) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run(["new", "format", "calls"]) == 2
    assert "plugtune-format-calls exists" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("kind", ["template", "family", "format", "stage", "exporter"])
def test_a_plugin_is_complete_and_nothing_is_left_to_fill_in(kind, capsys, tmp_path):
    assert run(["new", kind, "my-calls", "--output", str(tmp_path / "made"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {"pyproject.toml", "README.md", ".gitignore", ".github/workflows/test.yml", "tests/test_plugin.py"} <= set(
        answer["files"]
    )
    for name in answer["files"]:
        text = (tmp_path / "made" / name).read_text(encoding="utf-8")
        assert "@" not in text.replace("@plugtune", "").replace("@dataclass", "").replace("checkout@", "").replace(
            "python@", ""
        ), name
        if name.endswith(".py"):
            compile(text, name, "exec")


def test_a_template_holds_no_python_and_a_format_is_fifteen_lines(tmp_path):
    assert run(["new", "template", "my-chat", "--output", str(tmp_path / "template")]) == 0
    assert not list((tmp_path / "template" / "src").rglob("*.py"))
    assert run(["new", "format", "my-rows", "--output", str(tmp_path / "format")]) == 0
    (module,) = (tmp_path / "format" / "src").rglob("*.py")
    code = [line for line in module.read_text(encoding="utf-8").splitlines() if line.strip() and '"""' not in line]
    assert len(code) <= 15

"""What the program answers to the shell."""

from __future__ import annotations

import json

from plugtune.cli.main import run


def test_a_check_that_finds_bad_rows_ends_with_status_2(tmp_path, capsys):
    file = tmp_path / "bad.json"
    file.write_text(json.dumps([{"instruction": "x", "output": ""}, {"instruction": "x", "output": "y"}]))
    assert run(["data", "check", str(file)]) == 2
    assert "row 1" in capsys.readouterr().out


def test_a_template_that_fails_its_examples_ends_with_status_1(tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text(
        'user: "Q {{content}} A "\nassistant: "{{content}}|"\n'
        "examples:\n  - messages: [{role: user, content: a}, {role: assistant, content: b}]\n    text: other\n"
    )
    assert run(["template", "check", str(file)]) == 1


def test_help_ends_with_status_0():
    assert run(["--help"]) == 0

"""`plugtune new` of every kind: built as a wheel, installed in a new environment, listed, held against the kit there."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.long]


@pytest.mark.parametrize(
    ("kind", "name", "kinds"),
    [("template", "my-chat", "templates"), ("format", "my-rows", "formats"), ("stage", "my-loss", "stages"),
     ("exporter", "my-card", "exporters"), ("family", "olmo2", "families")],
)  # fmt: skip
def test_a_new_plugin_builds_installs_is_listed_and_passes(environment, make_plugin, tmp_path, kind, name, kinds):
    folder = make_plugin(kind, name, tmp_path / "plugin")
    listed = json.loads(environment.plugtune("list", kinds, "--json").stdout)
    row = next(row for row in listed if row["name"] == name)
    done = environment.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", folder / "tests", cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    module = f"plugtune_{row['plugin'].replace('-', '_')}"
    where = environment.run("python", "-c", f"import {module}; print(list({module}.__path__))").stdout
    assert str(environment.folder) in where, "the tests ran on the wheel and not on the folder"


def test_a_broken_plugin_fails_the_kit_with_what_to_mend(environment, tmp_path):
    folder = tmp_path / "plugin"
    assert environment.plugtune("new", "format", "bad-rows", "--output", folder).returncode == 0
    module = folder / "src" / "plugtune_format_bad_rows" / "__init__.py"
    text = module.read_text(encoding="utf-8")
    module.write_text("import torch\n" + text.replace('plugtune.text_of(row, columns["answer"])', 'row["answer"]'))
    done = environment.plugtune("testkit", folder, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    failed = {test["name"]: test["message"] for test in report["tests"] if test["outcome"] == "failed"}
    assert "imports torch" in failed["importing it is cheap and changes nothing"]
    assert "raise plugtune.RowError instead" in failed["whatever a column holds is read or refused"]
    assert "columns can be renamed" in failed
    assert environment.plugtune("testkit", "no-such-plugin").returncode == 2

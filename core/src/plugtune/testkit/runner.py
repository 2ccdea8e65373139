"""Runs the kit on an installed plugin or on a plugin's folder, and reports what pytest found.

A folder need not be installed: its metadata and source are put on the path of the test process only.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

from plugtune.errors import PluginError, RequestError, RunError, did_you_mean
from plugtune.testkit import BY_KIND

PROVIDES = """
import json, sys
from plugtune.plugins.index import read_index
index = read_index()
print(json.dumps([[p["name"], p["provides"]] for p in index.plugins]))
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A test and its outcome (`passed`, `failed`, `skipped`) with what it said."""

    group: str
    name: str
    outcome: str
    message: str = ""

    def as_json(self) -> dict[str, str]:
        """JSON form."""
        return {"group": self.group, "name": self.name, "outcome": self.outcome, "message": self.message}


@dataclass(slots=True)
class KitReport:
    """All cases of a plugin."""

    plugins: list[str]
    cases: list[Case] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """How many cases ended so."""
        return sum(case.outcome == outcome for case in self.cases)

    @property
    def ok(self) -> bool:
        """Whether something was tested and nothing failed."""
        return self.count("passed") > 0 and not self.count("failed")

    def lines(self) -> Iterator[str]:
        """For people: each test as a sentence, failures with what they said."""
        group = ""
        for case in self.cases:
            if case.group != group:
                group = case.group
                yield group
            mark = {"passed": "ok     ", "failed": "FAILED ", "skipped": "skipped"}[case.outcome]
            yield f"  {mark}  {case.name}" + (f" ({case.message})" if case.outcome == "skipped" else "")
            if case.outcome == "failed":
                yield from (f"           {line}" for line in case.message.splitlines()[:12])
        counts = ", ".join(f"{self.count(outcome)} {outcome}" for outcome in ("passed", "failed", "skipped"))
        yield f"{' and '.join(self.plugins)}: {counts}"

    def as_json(self) -> dict[str, Any]:
        """JSON form."""
        counts = {outcome: self.count(outcome) for outcome in ("passed", "failed", "skipped")}
        return {"plugins": self.plugins, "ok": self.ok, **counts, "tests": [case.as_json() for case in self.cases]}


def run_kit(target: str) -> KitReport:
    """Hold a plugin, by name or by folder, against the kit; a folder's own tests run too.

    Raises:
        RequestError: there is no such plugin or folder, or the folder is no plugin.
        RunError: pytest itself failed.
    """
    folder = Path(target)
    with TemporaryDirectory(prefix="plugtune-testkit-") as made:
        site, own = Path(made), None
        if (folder / "pyproject.toml").is_file():
            names, path = _staged(folder.resolve(), site)
            own = folder.resolve() / "tests" if (folder / "tests").is_dir() else None
        elif folder.is_dir():
            raise RequestError(f"{folder} holds no pyproject.toml", fix="give a plugin's folder or its name")
        else:
            names, path = [target], []
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")])}
        provides = _provides(env, names)
        tests = site / "test_conformance.py"
        tests.write_text(_module(provides, _classes_in(own)), encoding="utf-8")
        return KitReport(names, _run([tests, *([own] if own else [])], site, env))


def _staged(folder: Path, site: Path) -> tuple[list[str], list[str]]:
    """Metadata of a folder's distribution in `site`; the plugins' names and what goes on the path."""
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except tomllib.TOMLDecodeError as error:
        raise RequestError("pyproject.toml is broken", where=str(folder), why=str(error)) from error
    groups = project.get("entry-points", {})
    if not groups.get("plugtune"):
        raise RequestError(
            "pyproject.toml names no plugin", where=str(folder),
            fix='add [project.entry-points.plugtune] with a line like format-x = "plugtune_format_x"',
        )  # fmt: skip
    info = site / f"{re.sub('[-_.]+', '_', project['name'])}-{project.get('version', '0')}.dist-info"
    info.mkdir()
    heads = [f"Name: {project['name']}", f"Version: {project.get('version', '0')}",
             f"Summary: {project.get('description', '')}",
             *(f"Requires-Dist: {requirement}" for requirement in project.get("dependencies", []))]  # fmt: skip
    readme = folder / str(project.get("readme", "README.md"))
    body = readme.read_text(encoding="utf-8") if readme.is_file() and "readme" in project else ""
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *heads, "", body]), encoding="utf-8")
    text = "\n".join(
        line for group, points in groups.items() for line in (f"[{group}]", *(f"{n} = {v}" for n, v in points.items()))
    )
    (info / "entry_points.txt").write_text(text, encoding="utf-8")
    source = folder / "src" if (folder / "src").is_dir() else folder
    return sorted(groups["plugtune"]), [str(site), str(source)]


def _provides(env: dict[str, str], names: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    import json

    done = subprocess.run([sys.executable, "-c", PROVIDES], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunError("the installed plugins cannot be listed", why=done.stderr.strip())
    known = dict(json.loads(done.stdout.splitlines()[-1]))
    for name in names:
        if name not in known:
            near = did_you_mean(name, known) or f"installed: {', '.join(known)}"
            raise PluginError(f"no plugin {name!r} is installed and there is no such folder", fix=near)
    return {name: known[name] for name in names}


def _classes_in(tests: Path | None) -> set[str]:
    files = tests.rglob("*.py") if tests else ()
    return {name for file in files for name in re.findall(r"\b(\w+Tests)\b", file.read_text(encoding="utf-8"))}


def _module(provides: dict[str, dict[str, list[str]]], written: set[str]) -> str:
    """A test module for everything that the plugin's own tests do not hold against the kit."""
    lines = ["import plugtune.testkit as kit", ""]
    for number, (plugin, kinds) in enumerate(provides.items()):
        if "PluginTests" not in written:
            lines += [f"class TestPlugin{number}(kit.PluginTests):", f"    plugin = {plugin!r}", ""]
        for kind, names in kinds.items():
            if (base := BY_KIND.get(kind)) is None:  # held against the tests of plugins as a whole only
                continue
            for index, name in enumerate(names if base not in written else ()):
                title = f"Test{base.removesuffix('Tests')}{number}_{index}"
                lines += [f"class {title}(kit.{base}):", f"    plugin, name = {plugin!r}, {name!r}", ""]
    return "\n".join(lines)


def _run(tests: Sequence[Path], site: Path, env: dict[str, str]) -> list[Case]:
    report = site / "report.xml"
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "--rootdir", str(site),
        "--import-mode", "importlib", f"--junitxml={report}", *map(str, tests),
    ]  # fmt: skip
    done = subprocess.run(command, env=env, cwd=site, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not report.is_file():
        why = (done.stdout + done.stderr).strip()[-2000:]
        fix = 'pip install "plugtune[test]"' if "No module named pytest" in why else ""
        raise RunError("pytest could not run the tests", why=why, fix=fix)
    return [_case(element) for element in ElementTree.parse(report).iter("testcase")]


def _case(element: ElementTree.Element) -> Case:
    group = element.get("classname", "").rpartition(".")[2]
    name = element.get("name", "").removeprefix("test_").replace("_", " ")
    for tag, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if (found := element.find(tag)) is not None:
            return Case(group, name, outcome, found.get("message", "").strip() or (found.text or "").strip())
    return Case(group, name, "passed")

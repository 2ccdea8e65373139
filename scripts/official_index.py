"""Writes core's static index of the official plugins: what each provides, so that a missing name gets an install line.

    python scripts/official_index.py [--check]

The index is made from the plugins of this tree; with `--check` it is only compared, and a difference ends with 1.
"""

from __future__ import annotations

import importlib
import json
import runpy
import sys
import tomllib
from pathlib import Path

from plugtune.plugins.host import PluginHost
from plugtune.plugins.policy import Policy

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "core" / "src" / "plugtune" / "plugins" / "official.json"


def official_index() -> str:
    """The index as the file holds it: distribution → kind → names, a line for each distribution."""
    lines = []
    for folder in (*sorted((ROOT / "plugins").glob("*-*")), ROOT / "contrib_templates"):
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        modules = [(n, importlib.import_module(m)) for n, m in project["entry-points"]["plugtune"].items()]
        kinds: dict[str, list[str]] = {}
        for plugin in PluginHost(plugins=modules, policy=Policy()).load().plugins:
            if plugin.status != "ok":
                raise SystemExit(f"plugin {plugin.name} is {plugin.status}: {plugin.reason}")
            for item in plugin.provides:
                kinds.setdefault(item.kind, []).append(item.name)
        listed = {kind: sorted(names) for kind, names in sorted(kinds.items())}
        lines.append(f" {json.dumps(project['name'])}: {json.dumps(listed, ensure_ascii=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> None:
    """Write or compare."""
    made = official_index()
    if "--check" not in sys.argv[1:]:
        INDEX.write_text(made, encoding="utf-8")
        # What the families know stands on a page of its own, made of the same plugins.
        runpy.run_path(str(ROOT / "scripts" / "models_page.py"), run_name="__main__")
    elif INDEX.read_text(encoding="utf-8") != made:
        raise SystemExit("the index of official plugins is not that of this tree: make index")


if __name__ == "__main__":
    main()

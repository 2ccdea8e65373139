"""The static index names what the plugins of this tree provide."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_index_is_that_of_the_plugins():
    script = runpy.run_path(str(ROOT / "scripts" / "official_index.py"))
    assert script["INDEX"].read_text(encoding="utf-8") == script["official_index"](), "run `make index`"

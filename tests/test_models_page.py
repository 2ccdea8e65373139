"""docs/models.md is what the plugins of this tree say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_of_models_is_that_of_this_tree():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "models_page.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

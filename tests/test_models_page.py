"""docs/models.md and the families' READMEs are what the plugins of this tree say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("script", ["models_page.py", "family_readmes.py"])
def test_the_pages_of_models_are_those_of_this_tree(script):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

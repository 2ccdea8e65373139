"""The security record names a test for each of its rows, and those tests are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_row_of_the_record_names_tests_that_exist() -> None:
    rows = [line for line in (ROOT / "docs/security.md").read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    assert len(rows) > 15
    for row in rows[1:]:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        assert named, row
        for file, test in named:
            path = ROOT / file if "/" in file else ROOT / "tests/security" / file
            assert f"def {test}(" in path.read_text(encoding="utf-8"), (file, test)

"""docs/scaling.md says what bench/scaling.py computes, and that follows from its stated constants."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
scaling = importlib.import_module("scaling")


def test_the_page_has_the_tables_that_the_script_prints():
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert {match["name"] for match in scaling.MARKED.finditer(text)} == set(scaling.TABLES)
    assert scaling.filled(text) == text


def test_the_time_of_the_run_is_operations_over_speed():
    a = scaling.Assumed()
    per_token = 6 * 70.6e9 + 6 * 80 * 8192 * 4096
    assert scaling.training_seconds(a) == pytest.approx(10e9 * per_token / (64 * 989e12 * 0.4))


def test_sharded_states_take_sixteen_bytes_a_parameter():
    a = scaling.Assumed()
    states = sum(size for name, size in scaling.memory(a, 1).items() if "sharded" in name)
    assert states == pytest.approx(16 * 70.6e9 / 64)
    assert sum(scaling.memory(a, 2).values()) < a.gpu_memory


def test_more_bandwidth_less_waiting():
    a = scaling.Assumed()
    assert scaling.traffic_seconds(a, a.network) * 8 == pytest.approx(scaling.traffic_seconds(a, a.network / 8))


def test_measured_parts_are_there():
    measured = json.loads(scaling.MEASURED.read_text(encoding="utf-8"))
    assert all(measured[name] > 0 for name in ("sha256_bytes_per_s", "tokens_per_s", "cores"))

"""What a measured process took is its own: not its parent's memory, and with its words when it fails."""

import importlib
import os
import sys

import pytest

processes = importlib.import_module("processes")


def spent(code, **named):
    return processes.spend([sys.executable, "-c", code], dict(os.environ), **named)


def test_memory_of_the_process_that_measures_does_not_count():
    held = bytearray(os.urandom(1 << 20)) * 400
    small, large = spent("pass"), spent("b = bytearray(b'x' * (300 << 20)); import time; time.sleep(0.5)", tree=True)
    assert len(held) >= 400 << 20
    assert small.peak_mb < 100
    assert 300 < large.peak_mb < 700  # the literal and its copy
    assert large.tree_mb == pytest.approx(large.peak_mb, rel=0.6)


def test_time_is_told_by_both_clocks():
    waited, worked = spent("import time; time.sleep(0.6)"), spent("sum(range(10 ** 7))")
    assert waited.wall_s > 0.6 > waited.cpu_s
    assert worked.cpu_s > 0.05


def test_a_failure_says_how_it_ended_and_its_last_words():
    with pytest.raises(RuntimeError, match=r"ended with 3:\nlast words"):
        spent("import sys; print('last words'); sys.exit(3)")
    with pytest.raises(RuntimeError, match="ended with -9"):
        spent("import os; os.kill(os.getpid(), 9)")

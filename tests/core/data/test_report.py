"""The data report is exact and costs the same for ten rows and for two million."""

from __future__ import annotations

import random
import tracemalloc

from plugtune.data.report import SetReport, percentiles


def test_percentiles_of_counted_lengths_are_those_of_the_sorted_list():
    random.seed(0)
    for size in (1, 2, 3, 99, 100, 101, 1000):
        lengths = [random.randint(1, 50) for _ in range(size)]
        report = SetReport("x")
        for number, length in enumerate(lengths, 1):
            report.keep(number, 0, [(length, 1)])
        ordered = sorted(lengths)
        expected = {f"p{p}": ordered[min(size - 1, size * p // 100)] for p in (50, 90, 99)} | {"max": ordered[-1]}
        assert report.as_json()["length"] == expected
    assert percentiles({}) == {}


def test_memory_of_a_report_does_not_grow_with_its_rows():
    report = SetReport("x")
    tracemalloc.start()
    for number in range(200_000):
        report.keep(number, 1, [(number % 2048, 1)])
        report.drop(number, "too long")
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 1 << 20
    assert report.rows_out == 200_000

"""docs/benchmarks.md is written from results: numbers, places, and what is left alone."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
record = importlib.import_module("record")
report = importlib.import_module("report")
ABOUT = {
    "machine": {"processor": "A processor", "cores": 2, "memory_gb": 23.5, "python": "3.11.7", "features": ["avx512_bf16"], "system": "Linux"},
    "versions": {"plugtune": {"torch": "2.13.0"}, "LLaMA-Factory": {"torch": "2.12.0"}}, "revision": "abc", "date": "2026-01-01 00:00 UTC",
    "command": "python bench/x.py", "load": 0.1,
}  # fmt: skip


def result(part="dpo", better="higher"):
    sides = {"plugtune": [30.0, 10.0, 20.0], "peer": [5.0, 10.0, 9.0]}
    measured = record.Measurement(
        "DPO, LoRA", "tokens a second", better, sides, {"plugtune": [900.0], "peer": [1800.0]}, ("losses within 1e-6",)
    )
    curve = record.Curve("Memory", "rows", "MB", {"plugtune": [(1000.0, 200.0), (100000.0, 210.0)]})
    return record.Result(part, ABOUT, (measured,), (curve,))


def cells(text, side):
    line = next(line for line in text.splitlines() if line.startswith(f"| {side} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.parametrize(("better", "times"), [("higher", "2.22×"), ("lower", "0.45×")])
def test_a_table_has_medians_spread_and_how_many_times_better_we_are(better, times):
    text = "\n".join(report.lines(result(better=better).measurements[0]))
    assert cells(text, "plugtune") == ["plugtune", "20", "10 to 30 of 3", "", "900"]
    assert cells(text, "peer") == ["peer", "9", "5 to 10 of 3", times, "1,800"]
    assert "losses within 1e-6." in text


def test_a_result_is_read_as_it_was_written(tmp_path):
    result().write(tmp_path / "dpo.json")
    assert record.read(tmp_path / "dpo.json") == result()


def test_two_parts_of_one_benchmark_have_pictures_of_their_own(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text("".join(f"<!-- measured: {part} -->\n<!-- /measured -->\n" for part in ("sft_full", "dpo")))
    report.write(page, {"sft_full": result("training"), "dpo": result("training", "lower")}, tmp_path / "images")
    assert re.findall(r"images/bench/(\S+?)\)", page.read_text()) == [
        "sft_full.svg", "sft_full-0.svg", "dpo.svg", "dpo-0.svg",
    ]  # fmt: skip
    drawn = [(tmp_path / "images" / f"{part}.svg").read_text() for part in ("sft_full", "dpo")]
    assert drawn[0] != drawn[1]


def test_the_page_takes_figures_between_its_marks_and_keeps_the_rest(tmp_path):
    page = tmp_path / "benchmarks.md"
    page.write_text(
        "Before.\n<!-- measured: dpo -->\nold\n<!-- /measured -->\nBetween.\n<!-- measured: rm -->\nkept\n<!-- /measured -->\nAfter.\n"
    )
    lost = report.write(page, {"dpo": result(), "nowhere": result("nowhere")}, tmp_path / "images")
    text = page.read_text()
    assert lost == ["nowhere"]
    assert "old" not in text
    assert all(
        word in text
        for word in (
            "Before.",
            "Between.",
            "kept",
            "After.",
            "A processor, 2 cores",
            "avx512_bf16",
            "torch 2.12.0",
            "`python bench/x.py`",
        )
    )
    pictures = re.findall(r"\(images/bench/(\S+)\)", text)
    assert pictures == ["dpo.svg", "dpo-0.svg"]
    assert all((tmp_path / "images" / name).read_text().lstrip().startswith("<?xml") for name in pictures)


def test_every_part_of_the_whole_run_has_a_place_on_the_page():
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    everything = importlib.import_module("all")
    assert {part.name for part in everything.PARTS} == {match["part"] for match in report.MARKED.finditer(text)}


def test_the_plan_of_a_whole_run_stays_under_three_quarters_of_an_hour():
    everything = importlib.import_module("all")
    assert sum(part.minutes for part in everything.PARTS if not part.big) <= 45


def test_a_part_that_is_there_is_not_run_again(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "rm.json").write_text("{}")
    command = [sys.executable, str(ROOT / "bench" / "all.py"), "--plan", "--only", "rm", "kto"]
    done = subprocess.run(
        command, env={"PLUGTUNE_BENCH_HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert re.search(r"rm +there already", done.stdout)
    assert "about 4 minutes" in done.stdout


def test_a_million_rows_are_made_one_at_a_time(tmp_path):
    rows = importlib.import_module("rows")
    stream = rows.instructions(10**9)
    first = [next(stream) for _ in range(3)]
    assert first == rows.make_rows(3)
    rows.write_rows(tmp_path, iter(first))
    assert json.loads((tmp_path / "rows.json").read_text(encoding="utf-8")) == first


@pytest.mark.e2e
@pytest.mark.long
def test_our_step_beats_the_plain_one_and_computes_the_same(tmp_path):
    command = [sys.executable, str(ROOT / "bench" / "quick.py"), "--json", str(tmp_path / "quick.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = record.read(tmp_path / "quick.json").measurements
    assert {len(values) for values in found.sides.values()} == {3}

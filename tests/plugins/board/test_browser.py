"""The tutorial's whole path in a real Chromium: language, model, data, preview, start, curve, abort, again, evaluation,
chat, export.

The pictures of docs/board.md are made here, by `PLUGTUNE_PICTURES=docs/images/board pytest -m browser`, with
`PLUGTUNE_PICTURE_MODEL` naming the folder of a model worth looking at and `PLUGTUNE_PATIENCE` the seconds that a thing
may need to happen.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from board_page import Board

pytestmark = [pytest.mark.e2e, pytest.mark.browser]


def test_the_tutorial_s_path_from_language_to_merged_model(
    browser: Any, start_board: Any, work: Path, pictures: Path | None
) -> None:
    real = os.environ.get("PLUGTUNE_PICTURE_MODEL")
    if real:
        shutil.copytree(real, work / "models" / "SmolLM2-135M-Instruct")
    model = f"models/{'SmolLM2-135M-Instruct' if real else 'tiny'}"
    address = start_board()
    board = Board(browser.new_page(viewport={"width": 1280, "height": 900}), pictures)
    board.open(address)
    _languages(board)
    board.fill("top-model_path", model)
    board.pick("train-dataset", "identity")
    _preview(board)
    _settings(board, epochs=60, save_steps=500)
    board.page.click("#preview-command")
    board.page.wait_for_selector("#command:has-text('--learning_rate=0.001')")
    board.picture("command", ("dark", 1280))
    _start_and_abort(board, address)
    _start_again(board)
    _check_files(work, model)
    _compare(board)
    board.pick("top-checkpoint_path", "second")
    _evaluate(board, work)
    _chat(board)
    _export(board, work)
    assert board.console == []


def _languages(board: Board) -> None:
    board.language(2, "开始")
    assert "模型名称" in board.page.locator("#top-model_name").inner_text()
    board.language(1, "Запуск")
    board.language(0, "Start")
    assert board.page.evaluate("performance.getEntriesByType('navigation').length") == 1, "no reload"


def _preview(board: Board) -> None:
    board.page.click("#preview-data")
    board.page.wait_for_selector("#train-seen .pt-t")
    trained = "".join(board.page.locator("#train-seen .pt-row").first.locator(".pt-on").all_inner_texts())
    assert "Plug" in trained
    assert "Who are you" not in trained, "questions are context"
    assert not re.findall("[\u0400-\u04ff\u4e00-\u9fff]+", board.words()), "words of the languages before"
    first = board.page.locator("#train-seen .pt-row b").first.inner_text()
    board.picture("preview", ("light", 1280))
    board.page.click("#next")
    board.wait(
        lambda: board.page.locator("#train-seen .pt-row b").first.inner_text() != first, "the page was not turned"
    )
    board.page.click("#close")


def _settings(board: Board, *, epochs: int, save_steps: int) -> None:
    board.fill("train-learning_rate", "1e-3")
    board.fill("train-gradient_accumulation_steps", "1")
    board.fill("train-num_train_epochs", str(epochs))
    board.page.get_by_text("Logging, saving, masking").click()
    board.fill("train-logging_steps", "1")
    board.fill("train-save_steps", str(save_steps))
    board.fill("train-output_dir", "first")
    board.page.keyboard.press("Enter")


def _start_and_abort(board: Board, address: str) -> None:
    board.page.click("#check-before")
    board.page.wait_for_selector("#report td:has-text('identity')")
    board.page.click("#start")
    board.page.wait_for_selector(".pt-ok:has-text('Started')")
    board.wait(lambda: board.steps() >= 3, "the curve did not begin")
    before = board.steps()
    board.wait(lambda: board.steps() > before, "the curve did not move")
    board.picture("running", ("light", 1280))
    board.open(address)
    board.wait(lambda: board.state() == "running" and board.steps() > before, "a page loaded anew did not find the run")
    board.page.click("#abort")
    board.wait(lambda: board.state() == "aborted", "it was not aborted")


def _start_again(board: Board) -> None:
    board.fill("train-num_train_epochs", "2")
    board.fill("train-output_dir", "second")
    board.page.keyboard.press("Enter")
    board.page.click("#start")
    board.wait(
        lambda: (
            "second" in board.page.locator("#train-status").inner_text() and board.state() in ("finished", "failed")
        ),
        "no second run",
    )
    assert board.state() == "finished", board.page.locator("#train-log textarea").input_value()
    assert "training finished" in board.page.locator("#train-status").inner_text()
    board.picture("train")


def _check_files(work: Path, model: str) -> None:
    import yaml

    folder = work / "saves/Custom/lora/second"
    for name in (
        "adapter_model.safetensors",
        "run.json",
        "training_args.yaml",
        "running_log.txt",
        "board_config.yaml",
        "trainer_log.jsonl",
    ):
        assert (folder / name).is_file(), name
    asked = yaml.safe_load((folder / "training_args.yaml").read_text())
    ran = json.loads((folder / "run.json").read_text())["options"]
    assert ran["model"]["model_name_or_path"] == asked["model_name_or_path"] == model
    assert ran["trainer"]["learning_rate"] == asked["learning_rate"] == 1e-3


def _compare(board: Board) -> None:
    board.tab(4)
    board.page.wait_for_selector("#runs-table td:has-text('second')")
    board.pick("runs-choose", "first")
    board.pick("runs-choose", "second")
    board.page.click("#compare")
    board.page.wait_for_selector("#compare-options tr.differs td:has-text('num_train_epochs')")
    board.picture("runs")


def _chat(board: Board) -> None:
    board.tab(2)
    board.page.click("#load-model")
    board.page.wait_for_selector("#query textarea:visible")
    board.fill("infer-max_new_tokens", "24")
    answers = board.page.locator("#chatbot .bot")
    for seed in range(5):  # a tiny random model may say an empty line
        board.fill("infer-seed", str(seed))
        board.page.locator("#query textarea").fill("Who are you?")
        board.page.click("#send")
        if board.happens(lambda: any(text.strip() for text in answers.all_inner_texts()), seconds=60):
            break
    else:
        raise AssertionError("no answer")
    board.settled("#chatbot .bot")
    board.picture("chat")
    board.page.click("#unload-model")
    board.wait(lambda: not board.page.locator("#query").is_visible(), "it was not unloaded")


def _export(board: Board, work: Path) -> None:
    board.tab(3)
    _export_as(board, "merged", "models/merged")
    from transformers import AutoModelForCausalLM

    assert AutoModelForCausalLM.from_pretrained(work / "models/merged", use_safetensors=True) is not None
    board.pick("export-exporter", "GGUF file")
    _export_as(board, "gguf", "models/for-llama")
    from gguf import GGUFReader

    files = list((work / "models/for-llama").glob("*.gguf"))
    assert len(files) == 1
    assert any(tensor.name == "token_embd.weight" for tensor in GGUFReader(files[0]).tensors)
    board.picture("export")


def _export_as(board: Board, kind: str, folder: str) -> None:
    name = Path(folder).name
    board.fill("export-export_dir", folder)
    board.page.click("#export-preview-command")
    board.page.wait_for_selector(f"#export-command:has-text('--exporter={kind}')")
    board.page.click("#export-start")
    board.wait(
        lambda: (  # the name first: the status may be drawn anew between two looks
            name in board.page.locator("#export-status").inner_text()
            and board.state("export") in ("finished", "failed")
        ),
        f"the export {kind} did not end",
    )
    assert board.state("export") == "finished", board.page.locator("#export-log textarea").input_value()


@pytest.mark.parametrize(("width", "scheme", "language"), [(1280, "light", "ru"), (1920, "dark", "zh")])
def test_every_page_fits_its_window_and_says_nothing_in_another_language(
    browser: Any, start_board: Any, width: int, scheme: str, language: str, pictures: Path | None
) -> None:
    board = Board(browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme), pictures)
    board.open(start_board("--lang", language))
    board.page.wait_for_selector("#train-status .pt-status")
    for number in range(5):
        board.tab(number)
        assert board.page.evaluate("document.documentElement.scrollWidth") <= width
        if number == 0:
            board.picture(f"train-{language}", (scheme, width))
        english = {"Start", "Abort", "Refresh", "Load model", "Export", "Compare"}
        assert not english & {text.strip() for text in board.page.locator("button:visible").all_inner_texts()}
    assert board.console == []


def test_the_server_refuses_strangers_while_the_page_works(browser: Any, start_board: Any) -> None:
    import urllib.error
    import urllib.request

    address = start_board(env={"PLUGTUNE_BOARD_TOKEN": "open-sesame"})
    assert "token=open-sesame" in address
    board = Board(browser.new_page(), None)
    board.open(address)
    assert "token" not in board.page.url
    base = address.partition("?")[0]
    for path, headers, status in (
        ("", {}, 401), ("gradio_api/file=/etc/passwd", {"Authorization": "Bearer open-sesame"}, 404),
        ("", {"Host": "evil.example", "Authorization": "Bearer open-sesame"}, 421),
        ("config", {"Origin": "http://evil.example", "Authorization": "Bearer open-sesame"}, 403),
    ):  # fmt: skip
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(base + path, headers=headers), timeout=20)
        assert refused.value.code == status, path
    assert board.console == []


def test_a_run_of_two_processes_outlives_its_board_and_is_gone_on_with(
    browser: Any, start_board: Any, work: Path, pictures: Path | None
) -> None:
    board = Board(browser.new_page(viewport={"width": 1280, "height": 900}), pictures)
    board.open(start_board())
    board.fill("top-model_path", "models/tiny")
    board.pick("train-dataset", "identity")
    _settings(board, epochs=600, save_steps=5)
    board.fill("train-processes", "2")
    board.page.click("#start")
    board.wait(lambda: board.steps() >= 6, "two processes did not train")
    assert board.page.locator("#train-log textarea").input_value().count("2 processes on 1 machine") == 1
    before = board.steps()
    start_board.stop()
    board.page.goto("about:blank")
    board.console.clear()  # the page told that its server was gone
    board.open(start_board())
    board.wait(lambda: board.state() == "running" and board.steps() > before, "a new board did not find the run")
    assert board.value("train-processes") == "2"
    board.page.click("#stop")
    board.wait(lambda: board.state() == "stopped", "it did not stop")
    folder = work / "saves/Custom/lora/first"
    reached = max(int(path.name.partition("-")[2]) for path in folder.glob("checkpoint-*"))
    _go_on(board, folder, reached)
    assert board.console == []


def _go_on(board: Board, folder: Path, reached: int) -> None:
    """The runs tab takes the settings of the run back to the training tab, and it goes on where it was saved."""
    board.tab(4)
    board.pick("runs-choose", "first")
    board.page.click("#resume-run")
    board.page.wait_for_selector("#start:visible")
    assert board.value("train-output_dir") == "first"
    assert board.page.locator("#train-existing input[value=resume]").is_checked()
    board.page.click("#start")
    board.wait(lambda: board.state() == "running" and board.steps() > reached, "the run did not go on")
    board.page.click("#abort")
    board.wait(lambda: board.state() == "aborted", "it was not aborted")
    steps = [json.loads(line)["current_steps"] for line in (folder / "trainer_log.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)), "each step is there once"
    assert f"checkpoint-{reached}" in (folder / "running_log.txt").read_text()


def _evaluate(board: Board, work: Path) -> None:
    board.tab(1)
    board.pick("eval-dataset", "identity")
    for name, value in (("max_samples", "4"), ("max_new_tokens", "8"), ("output_dir", "judged")):
        board.fill(f"eval-{name}", value)
    board.page.click("#eval-preview-command")
    board.page.wait_for_selector("#eval-command:has-text('--do_predict=true')")
    board.page.click("#eval-start")
    board.wait(lambda: board.state("evaluate") in ("finished", "failed"), "the evaluation did not end")
    assert board.state("evaluate") == "finished", board.page.locator("#evaluate-log textarea").input_value()
    board.page.wait_for_selector("#eval-results:has-text('predict_bleu-4')")
    told = json.loads((work / "saves/Custom/lora/judged/all_results.json").read_text())
    shown = board.page.locator("#eval-results").inner_text()
    assert str(told["predict_bleu-4"]) in shown
    board.picture("evaluate")


def test_devices_are_ticked_and_the_run_is_started_on_them(
    browser: Any, start_board: Any, work: Path, tmp_path: Path, pictures: Path | None
) -> None:
    """There is no such device here: a stand-in answers for the driver's tool, and the command that would run is read."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\nfor n in 0 1 2; do echo "$n, Accelerator $n, 1024, 24576"; done\n')
    tool.chmod(0o755)
    board = Board(browser.new_page(viewport={"width": 1920, "height": 1080}, color_scheme="dark"), pictures)
    board.open(start_board(env={"PATH": f"{tool.parent}:{os.environ['PATH']}"}))
    board.fill("top-model_path", "models/tiny")
    board.pick("train-dataset", "identity")
    board.page.locator("#train-devices label", has_text="1: Accelerator 1").click()
    board.page.click("#preview-command")
    board.page.wait_for_selector("#command:has-text('CUDA_VISIBLE_DEVICES=0,2')")
    assert "NPROC_PER_NODE=2" in board.page.locator("#command").inner_text()
    assert board.page.locator("#memory").inner_text().count("Accelerator") == 3
    board.picture("devices", ("dark", 1920))
    board.language(2, "开始")
    assert "1: Accelerator 1" in board.page.locator("#train-devices").inner_text()
    assert not board.page.locator("#train-devices label", has_text="Accelerator 1").locator("input").is_checked()
    assert board.console == []

"""Every number of a stage reaches the log file and the picture."""

from __future__ import annotations

import json

from plugtune.training.callbacks import LogFile
from plugtune.training.plot import plot_loss
from transformers import TrainerControl, TrainerState, TrainingArguments


def test_the_log_file_keeps_the_numbers_of_a_stage(tmp_path):
    log = LogFile(tmp_path / "trainer_log.jsonl")
    arguments, state = TrainingArguments(output_dir=str(tmp_path)), TrainerState(global_step=2, max_steps=4)
    log.on_train_begin(arguments, state, TrainerControl())
    logs = {"loss": 0.5, "learning_rate": 0.1, "rewards/accuracies": 0.75, "note": "text", "eval_runtime": 3.0}
    log.on_log(arguments, state, TrainerControl(), logs=logs)
    entry = json.loads((tmp_path / "trainer_log.jsonl").read_text())
    assert entry["rewards/accuracies"] == 0.75
    assert entry["lr"] == 0.1
    assert not {"note", "learning_rate", "eval_runtime"} & set(entry)


def test_the_picture_has_a_panel_for_each_metric_that_was_logged(tmp_path):
    from matplotlib.image import imread

    history = [{"step": n, "loss": 1 / n, "rewards/accuracies": n / 4} for n in range(1, 5)]
    assert plot_loss(history, tmp_path / "one.png")
    assert plot_loss(history, tmp_path / "two.png", ("rewards/accuracies", "never_logged"))
    assert imread(tmp_path / "two.png").shape[0] > imread(tmp_path / "one.png").shape[0]

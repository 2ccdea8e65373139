"""PPO raises a toy reward of a real model: `python bench/ppo_learns.py MODEL [--steps 40] [--plot FILE]`.

The reward is the share of an answer's tokens that hold the letter "e". Prints the mean reward and KL of every buffer of
answers, and draws them. The first buffer is sampled from the untrained policy.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

PROMPTS = (
    "Name a colour.", "What is rain?", "Where do fish live?", "Tell me about bread.", "Why is the sky blue?",
    "How do birds fly?", "What is a river?", "Describe a forest.", "Who reads books?", "When does snow fall?",
    "What do cows eat?", "Tell me about trains.", "Why do we sleep?", "What is music?", "Describe a city.",
    "How is tea made?",
)  # fmt: skip


def letter(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
    """How often the letter stands in an answer, for each of its tokens, at most 1."""
    return [min(text.count("e") / max(len(ids), 1), 1.0) for text, ids in zip(completions, completion_ids, strict=True)]


def train(model: str, steps: int, seed: int = 42) -> list[dict[str, Any]]:
    """The log of a run: one entry for each buffer."""
    here = str(Path(__file__).resolve().parent)
    sys.path.insert(0, here)
    os.environ["PYTHONPATH"] = here
    from plugtune.options.reader import read_request
    from plugtune.plugins.host import PluginHost
    from plugtune.training.run import run_training

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [{"instruction": prompt, "output": "-"} for prompt in PROMPTS]
        (folder / "prompts.json").write_text(json.dumps(rows), encoding="utf-8")
        (folder / "dataset_info.json").write_text(json.dumps({"prompts": {"file_name": "prompts.json"}}))
        options: dict[str, Any] = {
            "stage": "ppo", "do_train": "true", "model_name_or_path": model, "dataset": "prompts",
            "dataset_dir": folder, "output_dir": folder / "out", "reward_model_type": "function",
            "reward_model": "ppo_learns:letter", "per_device_train_batch_size": 16, "per_device_eval_batch_size": 16,
            "ppo_epochs": 2, "ppo_init_kl_coef": 0.02, "ppo_score_norm": "true", "max_new_tokens": 16,
            "top_k": 0, "top_p": "1.0", "temperature": "1.0", "learning_rate": "5e-4", "lora_rank": 16,
            "lr_scheduler_type": "constant", "max_steps": steps, "logging_steps": 2, "save_strategy": "no",
            "seed": seed,
        }  # fmt: skip
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        run_training(read_request(words), PluginHost().load())
        lines = (folder / "out" / "trainer_log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if "reward" in entry]


def draw(log: list[dict[str, Any]], file: str) -> None:
    """Reward and KL over optimizer steps."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (upper, lower) = pyplot.subplots(2, sharex=True, figsize=(6, 4.5))
    steps = [entry["current_steps"] for entry in log]
    upper.plot(steps, [entry["reward"] for entry in log])
    upper.axhline(log[0]["reward"], linestyle=":", color="grey")
    upper.set_ylabel("mean reward")
    lower.plot(steps, [entry["kl"] for entry in log], color="tab:orange")
    lower.set_ylabel("KL, nats an answer")
    lower.set_xlabel("optimizer steps (dotted: the untrained policy)")
    figure.tight_layout()
    figure.savefig(file, dpi=100)


def main() -> None:
    """Train, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--plot")
    given = parser.parse_args()
    log = train(given.model, given.steps)
    for entry in log:
        print(f"{entry['current_steps']:4d}  reward {entry['reward']:.3f}  kl {entry['kl']:.2f}", flush=True)
    first, last = log[0]["reward"], sum(entry["reward"] for entry in log[-3:]) / len(log[-3:])
    print(f"untrained {first:.3f}, mean of the last three buffers {last:.3f}")
    if given.plot:
        draw(log, given.plot)


if __name__ == "__main__":
    main()

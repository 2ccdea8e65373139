"""The quick form: our training step against the plain padded one on a small model, by processor time; under a minute.

    python bench/quick.py [--least 1.3]

Ends with status 1 when the ratio falls below `--least`, so that a regression is noticed; the figures are printed. Both
paths train the same rows in the same order, taking turns, and must end with the same losses.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from data_prep import make_rows
from peers import environment
from sft import HERE, OURS

STEPS, BATCH, ROUNDS = 5, 4, 3


def make_model(folder: Path) -> None:
    """A small LLaMA with a vocabulary that weighs as it does in real models, and a tokenizer trained on the rows."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=4000, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    backend.train_from_iterator((row["output"] for row in make_rows(300)), trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=16000, hidden_size=256, intermediate_size=704, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def run(folder: Path, plain: bool) -> dict[str, Any]:
    """One run of a side."""
    job = {
        "model_name_or_path": str(folder / "model"), "stage": "sft", "do_train": True, "dataset": "rows",
        "dataset_dir": str(folder), "template": "chatml", "cutoff_len": 512, "disable_shuffling": True,
        "per_device_train_batch_size": BATCH, "max_steps": STEPS, "learning_rate": 1e-4, "logging_steps": 1,
        "lr_scheduler_type": "constant", "save_strategy": "no", "overwrite_output_dir": True, "bf16": False,
        "finetuning_type": "lora", "output_dir": str(folder / "out"), "plain_loss": plain,
        "disable_gradient_checkpointing": True,
    }  # fmt: skip
    path, answer = folder / "job.json", folder / "answer.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    env = environment(PLUGTUNE_CACHE_DIR=str(folder / "cache"), OMP_NUM_THREADS="1")
    subprocess.run([sys.executable, "-c", OURS, str(path), str(answer), str(HERE)], env=env, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    return dict(json.loads(answer.read_text(encoding="utf-8")))


def main() -> int:
    """Measure, print, and judge the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--least", type=float, default=1.3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "model")
        rows = [{k: v for k, v in row.items() if k != "history"} for row in make_rows(BATCH * STEPS)]
        (folder / "rows.json").write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json"}}), encoding="utf-8")
        runs: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
        for _ in range(ROUNDS):
            for plain in (False, True):
                runs[plain].append(run(folder, plain))
    seconds = {plain: statistics.median(sum(r["cpu_s"][1:]) for r in side) for plain, side in runs.items()}
    apart = max(abs(a - b) for a, b in zip(runs[False][0]["losses"], runs[True][0]["losses"], strict=True))
    ratio = seconds[True] / seconds[False]
    print(f"plain path {seconds[True]:.2f} s, ours {seconds[False]:.2f} s of processor time: {ratio:.2f} times as fast")
    print(f"losses within {apart:.1e}")
    if ratio < args.least or apart > 1e-4:
        print(f"this is a regression: at least {args.least} times and losses within 1e-4 are expected", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

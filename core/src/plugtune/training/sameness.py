"""What makes two runs the same run for a resume, and how differences are told.

A resume goes on with the same run. Refused is what would make the rest count differently (other rows, another order,
another number of rows a step) and what would have no effect because the checkpoint's own value goes on (the optimizer
and its settings). Noted is what takes effect from here on (the schedule, the precision). To train on from weights with
anything else changed is a new run: `--adapter_name_or_path` or `--model_name_or_path` with the old output.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError
from plugtune.options.resolve import trainer_specs
from plugtune.training.checkpoint import MANIFEST
from plugtune.training.plan import Plan

FIXED = ("optim", "optim_args", "optim_target_modules", "learning_rate", "weight_decay", "adam_beta1", "adam_beta2",
         "adam_epsilon", "data_seed", "train_sampling_strategy", "dataloader_drop_last")  # fmt: skip
"""Fields of the trainer that a resume cannot change."""
MOVING = ("lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "num_train_epochs", "max_steps", "max_grad_norm",
          "neftune_noise_alpha", "label_smoothing_factor", "bf16", "fp16", "per_device_train_batch_size",
          "gradient_accumulation_steps")  # fmt: skip
"""Fields of the trainer that take effect from the resumed step on."""
ROWS = ("dataset", "mix_strategy", "interleave_probs", "val_size", "max_samples", "packing", "packing_length",
        "cutoff_len", "streaming", "buffer_size", "train_on_prompt", "mask_history")  # fmt: skip
"""Data options that decide which rows there are; files and template are compared by what came out of them."""
NOTED = "from here on "
OF_ROWS = "option "
"""Prefix of names that only explain why rows are others; without a stream the rows themselves are compared."""
SHOWN = 60


def identity(plan: Plan, processes: int = 1) -> dict[str, str]:
    """What a checkpoint remembers of its run: name → value as text. Names that begin with `from here on` may change."""
    defaults = {spec.name: spec.default for spec in trainer_specs()}
    trainer = {name: plan.trainer.get(name, defaults.get(name)) for name in (*FIXED, *MOVING)}
    per_device = int(trainer["per_device_train_batch_size"] or 8)
    found: dict[str, Any] = {
        "stage": plan.stage.name,
        "method": plan.method.name,
        "model": str(plan.model.model_name_or_path).rstrip("/").rpartition("/")[2],
        "seed": plan.run.seed,
        "disable_shuffling": plan.run.disable_shuffling,
        "quantization_bit": plan.model.quantization_bit,
        "rows per step": per_device * int(trainer["gradient_accumulation_steps"] or 1) * processes,
    }
    found |= {
        ("" if plan.data.streaming else OF_ROWS) + name: getattr(plan.data, name) for name in ROWS if name != "packing"
    }
    packing = plan.data.packing
    if packing is None:  # what the data room makes of it
        packing = plan.stage.rows == "document" or plan.data.neat_packing
    found[("" if plan.data.streaming else OF_ROWS) + "packing"] = bool(packing)
    for options in (plan.stage_options, plan.method_options, plan.optimizer_options):
        if options is not None:
            found |= dataclasses.asdict(options)
    found |= {name: trainer[name] for name in FIXED}
    found |= {NOTED + name: trainer[name] for name in MOVING}
    found[NOTED + "processes"] = processes
    found |= plan.fingerprints
    found["holds"] = "weights only" if plan.trainer.get("save_only_model") else "everything"
    return {name: value if isinstance(value, str) else json.dumps(value, default=str) for name, value in found.items()}


def fingerprint(rows: Any, report: Mapping[str, Any], template: Any) -> dict[str, str]:
    """What the training rows and the template came out as. Streamed rows are known by their options alone."""
    found = {"template": f"{template.name} {template.digest[:12]}"} if template is not None else {}
    if not hasattr(rows, "__len__"):
        return found
    digest = hashlib.sha256()
    count = len(rows)
    numbers = (
        range(count)
        if count <= 2000
        else sorted({*range(200), *range(count - 200, count), *range(0, count, count // 600)})
    )
    for number in numbers:
        digest.update(json.dumps(rows[number], sort_keys=True).encode())
    for entry in report.get("sets", []):
        digest.update(json.dumps([entry.get(key) for key in ("read", "kept", "tokens", "trained_tokens")]).encode())
    return {**found, "rows": f"{count} ({digest.hexdigest()[:12]})"}


def check_same_run(folder: Path, run: Mapping[str, str]) -> list[str]:
    """Hold a run to the one that a checkpoint is from; returns notes about what changes from here on.

    Raises:
        RequestError: something differs that a resume cannot change; names each.
    """
    theirs = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("run") or {}
    if theirs.get("holds") == "weights only":
        raise RequestError(
            f"checkpoint {folder} cannot be resumed from", where="resume_from_checkpoint",
            why="it was saved with save_only_model, without optimizer and random state",
            fix=_way_out(folder),
        )  # fmt: skip
    differing = {
        key: (theirs[key], run[key]) for key in run if key != "holds" and theirs.get(key, run[key]) != run[key]
    }
    refused = {key: values for key, values in differing.items() if not key.startswith((NOTED, OF_ROWS))}
    if "rows" in refused:
        refused |= {key.removeprefix(OF_ROWS): v for key, v in differing.items() if key.startswith(OF_ROWS)}
    if refused:
        raise RequestError(
            f"checkpoint {folder} is from another run", where="resume_from_checkpoint",
            why="; ".join(f"{key} {_short(a)} there, {_short(b)} here" for key, (a, b) in refused.items()),
            fix=f"resume with that run's options; or, as a new run, {_way_out(folder)}",
        )  # fmt: skip
    return [
        f"resumed with {key.removeprefix(NOTED)} {_short(b)} instead of {_short(a)}: it takes effect from here on"
        for key, (a, b) in differing.items()
        if key.startswith(NOTED)
    ]


def _way_out(folder: Path) -> str:
    option = "adapter_name_or_path" if (folder / "adapter_config.json").is_file() else "model_name_or_path"
    return f"start from these weights with --{option} {folder} and another output_dir"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"

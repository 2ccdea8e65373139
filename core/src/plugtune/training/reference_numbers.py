"""Log-probabilities of the reference: computed once before training and kept, so that a step costs the policy only.

They are kept in the cache under a key that changes whenever they would, so a resumed run, or the next one over the same
rows, does not compute them again. Which model the reference is says `training.reference`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from plugtune.data.cache import cache_folder
from plugtune.modeling.frozen import find_frozen
from plugtune.training.context import TrainerContext
from plugtune.training.reference import before_training, describe


@dataclass(frozen=True, slots=True)
class WithReference:
    """Rows with the reference's numbers in the column `reference`."""

    rows: Any
    numbers: torch.Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.rows[index], "reference": self.numbers[index].tolist()}


def announce(context: TrainerContext) -> None:
    """Say in the plan what the reference is."""
    context.plan.choose("reference", describe(context), "its log-probabilities are computed once, before training")


def reference_numbers(
    trainer: Any, rows: Any, ask: Callable[[Any, dict[str, Any]], torch.Tensor], what: str, batch_size: int
) -> torch.Tensor:
    """The reference's numbers for each row, `(rows, columns)` float32, from the cache or computed now.

    Args:
        trainer: a `JudgedTrainer`; its collator makes the batches, its processes share the work.
        rows: the rows, with a length.
        ask: numbers of a batch given the reference model and the batch, `(batch, columns)`.
        what: text that changes whenever `ask` would answer differently.
        batch_size: rows at a time.
    """
    key = _key(trainer, rows, f"{what} {batch_size}")
    path = cache_folder().parent / "reference" / f"{key}.safetensors"
    here = torch.tensor(int(path.is_file()), device=trainer.accelerator.device)
    if int(trainer.accelerator.reduce(here, "sum")) == trainer.accelerator.num_processes:
        from safetensors.torch import load_file

        return load_file(path)["reference"]
    with torch.random.fork_rng():
        numbers = _compute(trainer, rows, ask, batch_size)
    if trainer.is_world_process_zero() and not trainer.context.plan.model.train_from_scratch:
        _write(path, numbers)
    return numbers


def _compute(trainer: Any, rows: Any, ask: Callable[..., torch.Tensor], batch_size: int) -> torch.Tensor:
    accelerator, found = trainer.accelerator, {}
    if trainer.is_world_process_zero():
        print(f"reference log-probabilities of {len(rows)} rows, once", file=sys.stderr, flush=True)
    starts = range(0, len(rows), batch_size)[accelerator.process_index :: accelerator.num_processes]
    with before_training(trainer.context) as model, torch.no_grad(), accelerator.autocast():
        for start in starts:
            batch = trainer.data_collator([rows[i] for i in range(start, min(start + batch_size, len(rows)))])
            found[start] = ask(model, trainer._prepare_inputs(batch)).float()
    width = torch.tensor(next((n.shape[1] for n in found.values()), 0), device=accelerator.device)
    columns = int(accelerator.gather(width).max())
    numbers = torch.zeros(len(rows), columns, device=accelerator.device)
    for start, values in found.items():
        numbers[start : start + len(values)] = values
    return accelerator.reduce(numbers, "sum").cpu()


def _write(path: Path, numbers: torch.Tensor) -> None:
    from safetensors.torch import save

    from plugtune.training.checkpoint import write_whole

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save({"reference": numbers.contiguous()}))


def _key(trainer: Any, rows: Any, what: str) -> str:
    """Changes with the rows, the weights, the arithmetic and the code that is asked."""
    plan, arguments = trainer.context.plan, trainer.args
    digest = hashlib.sha256()
    for index in range(len(rows)):
        digest.update(repr(sorted(rows[index].items())).encode())
    model = {name: value for name, value in asdict(plan.model).items() if not name.endswith("token")}
    options = plan.stage_options
    policy = trainer.context.model
    base = policy.get_base_model() if hasattr(policy, "get_base_model") else policy
    # The folders that the weights came from: those of a hub's cache change with the commit.
    names = [base.config._name_or_path, plan.model.model_name_or_path, *options.ref_model_adapters]
    if options.ref_model:
        named = find_frozen(options.ref_model, plan.model, trainer.context.host, where="ref_model")
        names.append(str(named.folder))
    folder = Path(plan.model.adapter_folder or "")
    adapters = [str(folder / name) for name in plan.model.adapter_name_or_path]
    method = asdict(plan.method_options) if plan.method_options else {}
    parts = [
        4, what, describe(trainer.context), model, plan.method.name, method, options.ref_model_quantization_bit,
        _files([*names, *adapters]), str(base.dtype), names, arguments.bf16, arguments.fp16, trainer.batcher.shared,
        arguments.device.type, torch.__version__, list(plan.plugins), plan.run.seed,
    ]  # fmt: skip
    digest.update(json.dumps(parts, default=str).encode())
    return digest.hexdigest()[:40]


def _files(names: Sequence[str | None]) -> list[tuple[str, int, int]]:
    """Path, size and time of change of the files in these folders: hashing large weights would take minutes."""
    found = []
    for name in filter(None, names):
        folder = Path(name).expanduser()
        for path in sorted(p for p in folder.glob("*") if p.is_file()) if folder.is_dir() else [folder]:
            if path.suffix in (".safetensors", ".gguf", ".json", ".bin"):
                status = os.stat(path)
                found.append((str(path.resolve()), status.st_size, status.st_mtime_ns))
    return found

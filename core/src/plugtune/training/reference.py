"""Log-probabilities of a reference model: computed once before training and kept, so that a step costs the policy only.

The reference is, in this order: the model that `ref_model` names (with `ref_model_adapters`), the base under the
policy's adapter, or the policy's weights as the run starts. Its numbers are kept in the cache under a key that changes
whenever they would, so a resumed run, or the next one over the same rows, does not compute them again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from plugtune.data.cache import cache_folder
from plugtune.errors import RequestError
from plugtune.training.context import TrainerContext

if TYPE_CHECKING:
    from plugtune.modeling.request import ModelRequest


@dataclass(frozen=True, slots=True)
class WithReference:
    """Rows with the reference's numbers in the column `reference`."""

    rows: Any
    numbers: torch.Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.rows[index], "reference": self.numbers[index].tolist()}


def describe(context: TrainerContext) -> str:
    """The reference of a run in words, for the plan."""
    options = context.plan.stage_options
    if options.ref_model:
        adapters = f" with {', '.join(options.ref_model_adapters)}" if options.ref_model_adapters else ""
        return f"{options.ref_model}{adapters}"
    return "the base under the adapter" if _has_adapter(context.model) else "the weights that the run starts from"


def announce(context: TrainerContext) -> None:
    """Say in the plan what the reference is, and warn where it is not what the run starts from."""
    plan = context.plan
    plan.choose("reference", describe(context), "its log-probabilities are computed once, before training")
    new = getattr(plan.method_options, "create_new_adapter", False)
    continued = plan.model.adapter_name_or_path and _has_adapter(context.model) and not new
    if continued and not plan.stage_options.ref_model:
        plan.notes.append(
            "the reference is the base without the adapter that is continued; to hold the policy to that adapter's "
            "answers, add --create_new_adapter, or name it with --ref_model and --ref_model_adapters"
        )


def _has_adapter(model: Any) -> bool:
    return hasattr(model, "disable_adapter")


@contextmanager
def reference_model(context: TrainerContext) -> Iterator[Any]:
    """The reference, ready to be asked: in evaluation mode; the policy is as it was when the block ends.

    Raises:
        RequestError: `ref_model` or its adapters cannot be loaded.
    """
    policy = context.model
    model = _load(context) if context.plan.stage_options.ref_model else policy
    was_training = model.training
    model.eval()
    adapter_off = policy.disable_adapter() if model is policy and _has_adapter(policy) else nullcontext()
    try:
        with adapter_off:
            yield model
    finally:
        model.train(was_training)


def _load(context: TrainerContext) -> Any:
    from plugtune.modeling.load import load_model
    from plugtune.training import attention

    options, policy = context.plan.stage_options, context.model
    model = load_model(_request(context), context.host)
    for adapter in options.ref_model_adapters:
        model = _open(model, adapter)
    attention.enable(model)
    return model.to(policy.device) if not options.ref_model_quantization_bit else model


def _request(context: TrainerContext) -> ModelRequest:
    """The reference model to load: `ref_model`, in the policy's dtype or quantized as asked."""
    from plugtune.modeling.locate import locate
    from plugtune.modeling.request import ModelRequest

    options = context.plan.stage_options
    if context.host is None:
        raise ValueError("a ref_model needs the plugin host")
    model_options = replace(
        context.plan.model, model_name_or_path=options.ref_model, adapter_name_or_path=[], train_from_scratch=False,
        quantization_bit=options.ref_model_quantization_bit,
    )  # fmt: skip
    dtype = str(_base(context.model).dtype).removeprefix("torch.")
    return ModelRequest(
        locate(model_options, context.host.catalog), model_options, dtype, vocabulary=len(context.tokenizer)
    )


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _open(model: Any, folder: str) -> Any:
    from peft import PeftModel

    try:
        model = PeftModel.from_pretrained(model, folder)
        # A second adapter goes on top of the first one.
        return model.merge_and_unload() if not _quantized(model) else model
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise RequestError(
            f"adapter {folder} does not fit the reference model", where="ref_model_adapters",
            why=str(error).split("\n")[0], fix="give the base that it was trained on as ref_model",
        ) from error  # fmt: skip


def _quantized(model: Any) -> bool:
    return getattr(model.get_base_model(), "quantization_method", None) is not None


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
    with reference_model(trainer.context) as model, torch.no_grad(), accelerator.autocast():
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
    base = _base(trainer.model)
    # The folders that the weights came from: those of a hub's cache change with the commit.
    names = [base.config._name_or_path, plan.model.model_name_or_path, *options.ref_model_adapters]
    names += [str(_request(trainer.context).located.folder)] if options.ref_model else []
    folder = Path(plan.model.adapter_folder or "")
    adapters = [str(folder / name) for name in plan.model.adapter_name_or_path]
    method = asdict(plan.method_options) if plan.method_options else {}
    parts = [
        3, what, describe(trainer.context), model, plan.method.name, method, options.ref_model_quantization_bit,
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

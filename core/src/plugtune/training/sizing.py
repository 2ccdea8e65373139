"""From a training request to an estimate of its memory, with nothing loaded, downloaded or read but headers.

`plugtune estimate` answers with it, and a dry run prints it for the rows that it has prepared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from plugtune.capabilities import Stage, TuningMethod, load_ref
from plugtune.catalog import Catalog
from plugtune.data.packing import room_of
from plugtune.errors import RequestError, did_you_mean
from plugtune.modeling.machine import free_memory, machine
from plugtune.modeling.memory import IMPORTS, Estimate, Setting, Trained, estimate
from plugtune.modeling.shape import Shape, shape_of_config, shape_of_folder, shape_of_size
from plugtune.training.advice import advise


@dataclass(frozen=True, slots=True)
class StageSizes:
    """What a stage adds, as `Stage.sizes(values, adapters)` answers.

    Attributes:
        rows: token rows of a sample (2 for pairs).
        frozen, critics: further models of this size, frozen and trained.
        generates: whether answers are generated while training, so that keys and values are kept.
        before: models of this size that are read before training and let go.
        logits: whether the output head is computed at all.
    """

    rows: int = 1
    frozen: float = 0
    critics: float = 0
    generates: bool = False
    before: float = 0
    logits: bool = True


@dataclass(frozen=True, slots=True)
class Sized:
    """An estimate with everything that it rests on.

    Attributes:
        free: bytes that the device has, and `place` its name.
        advice: changes that would help, in order, each with the peak when it and those before it are made.
    """

    shape: Shape
    trained: Trained
    setting: Setting
    estimate: Estimate
    free: int
    place: str
    advice: tuple[tuple[str, int], ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the device has that much."""
        return self.estimate.peak <= self.free

    def as_json(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "model": {"parameters": self.shape.parameters, "from": self.shape.source},
            "trained_parameters": self.trained.parameters,
            "tokens": self.setting.tokens,
            "trained_positions": self.setting.targets,
            "gradient_checkpointing": self.setting.checkpointing,
            "parts_bytes": self.estimate.parts(),
            "moments_bytes": self.estimate.moments,
            "peak_bytes": self.estimate.peak,
            "peak_moment": self.estimate.moment,
            "free_bytes": self.free,
            "device": self.place,
            "fits": self.fits,
            "advice": [{"change": change, "peak_bytes": peak} for change, peak in self.advice],
        }


def shape_for(name: str, catalog: Catalog) -> Shape:
    """The shape of what `--model_name_or_path` names: a folder, a config file, a known model, a hub id, or a size.

    Raises:
        RequestError: nothing is known about its size.
    """
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".json":
        return shape_of_config(_read(path), name)
    if path.is_dir() and (path / "config.json").is_file():
        return shape_of_folder(path, _read(path / "config.json"))
    if path.exists():
        raise RequestError(f"{name} holds no config.json", where="model_name_or_path",
                           fix="give a checkpoint's folder, a config.json, a model's name, or a size: 7B")  # fmt: skip
    entries = [entry for family in catalog.all("family") for entry in family.models]
    for entry in entries:
        if name == entry.name or name in entry.hub.values():
            return shape_of_size(entry.size, name)
    found = re.search(r"(?:^|[-_/ ])((?:\d+x)?\d+(?:\.\d+)?[bBmM])(?:$|[-_])", name)
    if found:
        return shape_of_size(found[1], name)
    near = did_you_mean(name, [entry.name for entry in entries])
    raise RequestError(
        f"the size of model {name!r} is not known", where="model_name_or_path",
        fix=near or "give a folder, a config.json, a name from plugtune list models, or a size such as 7B",
    )  # fmt: skip


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError("this is no JSON file", where=str(path), why=str(error)) from error
    if not isinstance(value, dict):
        raise RequestError("a config is a JSON object", where=str(path))
    return value


def trained_of(method: TuningMethod, options: Any, shape: Shape) -> Trained:
    """What a method trains; everything when it does not say."""
    if method.sizes:
        answer: Trained = load_ref(method.sizes)(shape, options)
        return answer
    return Trained(shape.parameters, blocks=shape.layers, embeddings=True, head=True)


def stage_sizes(stage: Stage, values: Mapping[str, Any], adapters: bool) -> StageSizes:
    """What a stage adds; nothing when it does not say."""
    answer: StageSizes = load_ref(stage.sizes)(values, adapters) if stage.sizes else StageSizes()
    return answer


def setting_of(
    values: Mapping[str, Any], extra: StageSizes, *, tokens: int, share: float, world: int, shard: int, gpu: bool,
    stored: float = 0,
) -> Setting:  # fmt: skip
    """How a run with these options computes.

    Args:
        values: options by name, those of the trainer included.
        extra: what its stage adds.
        tokens: tokens of a batch.
        share: share of them that is trained on.
        world: devices.
        shard: what is split over them.
        gpu: whether it runs on a GPU.
        stored: bytes of a weight in its file; 0 when that is not known.
    """
    weights, mixed = 4.0, False
    if values.get("pure_bf16"):
        weights = 2.0
    elif values.get("fp16") or values.get("bf16"):
        mixed = bool(values.get("bf16")) or gpu or computes_bf16()
    elif "bf16" not in values and values.get("compute_dtype", "auto") in ("bfloat16", "float16"):
        weights = 2.0
    elif "bf16" not in values and values.get("compute_dtype", "auto") == "auto":
        mixed = gpu or computes_bf16()
    longest = int(values.get("cutoff_len") or 0)
    targets = max(int(tokens * extra.rows * share), 1) if extra.logits else 0
    return Setting(
        tokens=tokens * extra.rows, targets=targets, longest=longest,
        weight_bytes=weights, trained_bytes=2 if values.get("pure_bf16") else 4, bits=values.get("quantization_bit"),
        double_quantization=bool(values.get("double_quantization", True)), mixed=mixed,
        eager=values.get("flash_attn") in ("eager", "disabled"), optimizer=str(values.get("optim") or "adamw_torch"),
        accumulation=int(values.get("gradient_accumulation_steps") or 1), world=world, shard=shard,
        frozen=extra.frozen, critics=extra.critics, imports=0 if gpu else IMPORTS,
        cached_tokens=tokens if extra.generates else 0, before=extra.before, stored=stored,
    )  # fmt: skip


def computes_bf16() -> bool:
    """Whether this processor computes bf16 natively, as Linux tells."""
    try:
        return "avx512_bf16" in Path("/proc/cpuinfo").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return False


def shard_of(values: Mapping[str, Any], named: str) -> int:
    """What is split over devices: by name, or by the DeepSpeed file or FSDP option of the run.

    Raises:
        RequestError: the DeepSpeed file cannot be read.
    """
    names = {"none": 0, "ddp": 0, "zero1": 1, "zero2": 2, "zero3": 3, "fsdp": 3, "auto": -1}
    if names[named] >= 0:
        return names[named]
    if values.get("deepspeed"):
        config = values["deepspeed"]
        config = config if isinstance(config, dict) else _read(Path(str(config)))
        return int((config.get("zero_optimization") or {}).get("stage", 0))
    fsdp = str(values.get("fsdp") or "")
    return 2 if "shard_grad_op" in fsdp else 3 if fsdp and fsdp.lower() not in ("false", "no") else 0


def size(
    shape: Shape, trained: Trained, setting: Setting, values: Mapping[str, Any], *, memory: int | None = None,
    adapted: tuple[str, Trained] | None = None,
) -> Sized:  # fmt: skip
    """The estimate, with checkpointing on where that is asked for or needed, and advice when it does not fit.

    Args:
        shape, trained, setting: what is estimated.
        values: options by name.
        memory: bytes to compare with, instead of this machine's.
        adapted: a method that trains adapters over quantized weights, and what it would train; for advice.
    """
    free, place = machine()
    if setting.imports:
        free, place = free_memory(), "this machine's memory"
    if memory is not None:
        free, place = memory, "the memory that was named"
    asked = values.get("gradient_checkpointing")
    if values.get("disable_gradient_checkpointing"):
        asked = False
    if asked is None:
        plain = estimate(shape, trained, setting)
        asked = plain.peak - plain.weights - plain.imports > 0.8 * (free - plain.weights - plain.imports)
    setting = replace(setting, checkpointing=bool(asked))
    made = estimate(shape, trained, setting)
    advice = () if made.peak <= free else advise(shape, trained, setting, free, adapted)
    return Sized(shape, trained, setting, made, free, place, advice)


def adapted_of(catalog: Catalog, shape: Shape) -> tuple[str, Trained] | None:
    """An installed method that trains adapters over quantized weights, with its defaults."""
    for method in catalog.all("method"):
        if method.saves_adapter and method.quantization:
            return method.name, trained_of(method, method.options() if method.options else None, shape)
    return None


def size_run(run: Any, config: Mapping[str, Any] | None = None) -> Sized | None:
    """The estimate for the rows that a run has prepared; `None` when the model's size cannot be told.

    A GGUF file has no config, and a config may name its sizes in a way of its own: that stops no run.

    Args:
        run: a `training.run.Run` with its rows.
        config: the config of the loaded model, when there is one.
    """
    plan = run.plan
    config = config if config is not None else run.located.config
    if not config:
        return None
    try:
        shape = shape_of_folder(run.located.folder, config)
    except RequestError as error:
        plan.notes.append(f"memory is not estimated: {error.problems[0].what}")
        return None
    sets = [item for item in run.rows.report.sets if item["length"]]
    longest = max((item["length"].get("max", 0) for item in sets), default=plan.data.cutoff_len)
    if plan.data.packing:
        longest = max(longest, room_of(plan.data))
    tokens = sum(item.get("tokens", 0) for item in sets)
    trained = sum(item.get("trained_tokens", 0) for item in sets)
    share = trained / tokens if tokens and trained else 1.0
    # A batch may hold more answers than the mean of all rows.
    share = min(1.0, share * 1.1)
    values = {**asdict(plan.run), **asdict(plan.data), **asdict(plan.model), **plan.trainer}
    if plan.stage_options is not None:
        values |= asdict(plan.stage_options)
    gpu = machine()[1] != free_place() and not plan.trainer.get("use_cpu")
    extra = stage_sizes(plan.stage, values, plan.method.saves_adapter)
    rows = int(plan.trainer.get("per_device_train_batch_size", 8))
    setting = setting_of(
        values, extra, tokens=rows * longest, share=share, world=1, shard=shard_of(values, "auto"), gpu=gpu,
        stored=shape.stored,
    )  # fmt: skip
    what = trained_of(plan.method, plan.method_options, shape)
    return size(shape, what, setting, values, adapted=adapted_of(run.host.catalog, shape))


def free_place() -> str:
    """What `machine` calls the memory of a machine without a GPU."""
    return "this machine's memory"

"""What plugins return from the collecting hooks: frozen descriptions, cheap to make and to compare.

A capability says what it is in plain data and names the code behind it as `"package.module:attribute"` (a `Ref`), so
that discovery imports nothing heavy. `load_ref` turns such a name into the object when it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from plugtune.data.records import RecordKind
from plugtune.templating.model import ChatTemplate

Ref = str


def load_ref(ref: Ref) -> Any:
    """The object that `"package.module:attribute"` names.

    Raises:
        ValueError: `ref` does not have that form.
        ImportError, AttributeError: there is no such module or attribute.
    """
    module, separator, attribute = ref.partition(":")
    if not separator or not module or not attribute:
        raise ValueError(f"{ref!r} is not of the form 'package.module:attribute'")
    target: Any = importlib.import_module(module)
    for part in attribute.split("."):
        target = getattr(target, part)
    return target


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A published checkpoint that a family knows by name.

    Attributes:
        name: what a user types or picks, for example `Qwen2.5-0.5B-Instruct`.
        size: parameters as people write them (`0.5B`); empty where its makers do not say.
        hub: repository id by hub name (`huggingface`, `modelscope`).
        chat: whether it was tuned for chat; a base model takes any template.
        template: the template it must be used with; empty for the family's default.
        needs: what it takes beyond transformers itself (its own code, another library); empty for most.
    """

    name: str
    size: str
    hub: Mapping[str, str]
    chat: bool = False
    template: str = ""
    needs: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelFamily:
    """A model adapter: which checkpoints it claims and how they are named, targeted and loaded.

    Attributes:
        name, summary: for listings.
        models: the published checkpoints.
        template: default template of its chat models.
        model_types: `model_type` values of config.json that it claims.
        architectures: `architectures` values that it claims where the model type alone does not decide.
        like: for a family that claims nothing: model types of other families that its checkpoints have. Since API 1.1.
        blocks: dotted path of the list of decoder blocks in the native class.
        lora_targets: linear layers that are usually adapted; names inside a block.
        unadapted: linear layers that `--lora_target all` leaves as they are: routers, and layers whose kernels would
            pass an adapter by.
        target_aliases: original module names that users still type → native names (`c_attn` → q_proj, k_proj, v_proj).
        requires: PEP 508 requirements of this family beyond its distribution's own.
        packs: whether rows laid end to end with restarting positions are computed independently of each other
            (false for families with recurrent state or attention that ignores positions: their batches are padded).
            True is a claim that each run checks on the loaded model; false spares the check.
        layout: `layout() -> plugtune.modeling.layout.Layout`: how an original checkpoint maps onto a native class;
            empty when transformers reads it itself.
        tokenizer: `build(folder: Path) -> PreTrainedTokenizerBase | None` from the original files; `None` from it, or
            an empty reference, when transformers reads what is there.
        tiny: `make(folder: Path, model_type: str, seed: int) -> None`, writes a tiny random checkpoint in the original
            layout (see `plugtune.testkit.tiny`); empty when the general one does.
        small: model type → config values that a tiny checkpoint of it needs beyond the kit's small ones.
            Since API 1.1.
        patches: callables applied to a loaded model, one reason each.
    """

    kind: ClassVar[str] = "family"

    name: str
    summary: str = ""
    models: tuple[ModelEntry, ...] = ()
    template: str = ""
    model_types: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    like: tuple[str, ...] = ()
    blocks: str = "model.layers"
    lora_targets: tuple[str, ...] = ()
    unadapted: tuple[str, ...] = ()
    target_aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    requires: tuple[str, ...] = ()
    packs: bool = True
    layout: Ref = ""
    tokenizer: Ref = ""
    tiny: Ref = ""
    small: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    patches: tuple[Ref, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DatasetFormat:
    """A way to read rows: which columns and tags, how to recognise it, and the converter.

    Attributes:
        columns: column role → default column name (`prompt` → `instruction`); `None` for a role without default.
        tags: tag role → default tag (`user_tag` → `human`).
        makes: what kinds of record it can make.
        convert: `make_converter(columns, tags, *, kind) -> Callable[[Mapping], Record]`, which raises
            `plugtune.data.records.RowError` for a row that it cannot read.
        recognise: `recognise(rows: Sequence[Mapping]) -> Recognised | None` from the first rows of a file; the
            result names columns and tags and how sure it is. Empty when the format cannot be guessed.
    """

    kind: ClassVar[str] = "format"

    name: str
    summary: str = ""
    columns: Mapping[str, str | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    makes: tuple[RecordKind, ...] = ("conversation",)
    convert: Ref
    recognise: Ref = ""


@dataclass(frozen=True, slots=True)
class Recognised:
    """A format's claim to a file: the mapping it would use and how sure it is (0 to 1)."""

    columns: Mapping[str, str | None]
    tags: Mapping[str, str]
    confidence: float
    ranking: bool = False


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A training stage.

    Attributes:
        rows: what kind of record it eats.
        options: dataclass of its own options (fields made with `plugtune.options.schema.option`), or `None`.
        encoder: `make_encoder(context) -> Encoder` (see `plugtune.data.encoding`): records → token rows.
        trainer: `build_trainer(context) -> transformers.Trainer` (see `plugtune.training.context`).
        checks: `checks(values: Mapping[str, Any]) -> list[Problem]`: cross-checks of a request; cheap.
        generates: whether `predict_with_generate` and `do_predict` make sense.
        sizes: `sizes(values: Mapping[str, Any], adapters: bool) -> plugtune.training.sizing.StageSizes`: further models
            in memory and rows of a sample, for estimates; cheap. Empty: nothing more than the model itself.
        metrics: logged numbers besides the loss that show whether it learns (`rewards/accuracies`); `plot_loss` draws
            them below the loss.
    """

    kind: ClassVar[str] = "stage"

    name: str
    summary: str = ""
    rows: RecordKind
    options: type | None = None
    encoder: Ref
    trainer: Ref
    checks: Ref = ""
    generates: bool = False
    metrics: tuple[str, ...] = ()
    sizes: Ref = ""


@dataclass(frozen=True, kw_only=True)
class TuningMethod:
    """Which weights are trained and how.

    Attributes:
        options: dataclass of its own options, or `None`.
        quantization: bits of a quantized base that it can train on (empty: none).
        prepare: `prepare(model, context) -> model`: the model ready for training (see `plugtune.modeling.methods`).
        saves_adapter: whether a run leaves an adapter (true) or whole weights (false).
        checks: like `Stage.checks`.
        sizes: `sizes(shape, options) -> plugtune.modeling.memory.Trained`: what is trained of a model of that shape
            (`plugtune.modeling.shape.Shape`), for estimates; cheap. Empty: everything.
    """

    kind: ClassVar[str] = "method"

    name: str
    summary: str = ""
    options: type | None = None
    quantization: tuple[int, ...] = ()
    prepare: Ref
    saves_adapter: bool = False
    checks: Ref = ""
    sizes: Ref = ""


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """A way to update weights that transformers' `optim` does not name.

    Attributes:
        options: dataclass of its own options; one of them is the bool that turns it on.
        switch: name of that option (`use_galore`). One optimizer a run can be on.
        adapters: whether it makes sense for methods that train adapters only.
        build: `build(model, arguments, options) -> torch.optim.Optimizer` over the model's trained parameters;
            `arguments` are `transformers.TrainingArguments`. Its `state_dict` must restore it for a resume.
        checks: like `Stage.checks`.
    """

    kind: ClassVar[str] = "optimizer"

    name: str
    summary: str = ""
    options: type
    switch: str
    adapters: bool = False
    build: Ref
    checks: Ref = ""


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """Something that starts a run's processes, instead of core's own torchrun: a cluster. Since API 1.1.

    Attributes:
        options: dataclass of its own options.
        switch: environment variable that chooses it when true (`USE_RAY`); the option `launcher` names it too.
        processes: `processes(options) -> int`: how many take part. Cheap; starts nothing.
        start: `start(work) -> int`, with a `plugtune.training.launchers.Work`: starts `work.command` once for each
            process with `work.environment` and torchrun's variables (RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE,
            MASTER_ADDR, MASTER_PORT), watches them and returns the run's exit status
            (`plugtune.training.launchers.exit_status`).
        checks: like `Stage.checks`.
    """

    kind: ClassVar[str] = "launcher"

    name: str
    summary: str = ""
    options: type | None = None
    switch: str = ""
    processes: Ref
    start: Ref
    checks: Ref = ""


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Writes a trained model in some form: `export(context) -> ExportReport` (see `plugtune.inference.export`).

    Attributes:
        reopen: `reopen(context, report) -> ModelOptions`: how the written model is opened again, for `--verify`.
            Empty: as the plain model folder `report.folder`.
    """

    kind: ClassVar[str] = "exporter"

    name: str
    summary: str = ""
    options: type | None = None
    writes: str = ""
    export: Ref
    reopen: Ref = ""


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A place models and data sets come from.

    Attributes:
        example: how an id looks.
        switch: environment variable that makes it the default when true (`USE_MODELSCOPE_HUB`).
        token: the model option that holds its access token.
        resolve: `resolve(id, *, revision, token, cache_dir, kind) -> Path` of a local folder, `kind` being `model` or
            `dataset`.
        upload: `upload(folder, repository, *, token) -> str`, the address there; empty for a hub that takes none.
    """

    kind: ClassVar[str] = "hub"

    name: str
    summary: str = ""
    example: str = ""
    switch: str = ""
    token: str = ""
    resolve: Ref
    upload: Ref = ""


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """A named data set: `info` has the keys of a dataset_info.json entry, `root` is where its paths start."""

    kind: ClassVar[str] = "dataset"

    name: str
    summary: str = ""
    info: Mapping[str, Any]
    root: str = ""


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Rows from somewhere else than files: a data base, a service. Since API 1.1.

    Attributes:
        schemes: the URL schemes that it reads (`sqlite`); what follows a `+` in an address is its own business.
        rows: `rows(address, options) -> Iterator[Mapping]`, opened lazily, one row after another, always in the same
            order; `options` is the entry's `source_options`. Raises `RequestError` for what cannot be reached.
        fingerprint: `fingerprint(address, options) -> str`, which changes when the rows do; when empty, all rows are
            read once more to know.
    """

    kind: ClassVar[str] = "source"

    name: str
    summary: str = ""
    schemes: tuple[str, ...]
    rows: Ref
    fingerprint: Ref = ""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of the program: `target` names a click command, imported when it is called."""

    kind: ClassVar[str] = "command"

    name: str
    summary: str = ""
    target: Ref


Capability = (
    ModelFamily
    | ChatTemplate
    | DatasetFormat
    | Stage
    | TuningMethod
    | Optimizer
    | Launcher
    | Exporter
    | Hub
    | DatasetEntry
    | DataSource
    | Command
)

"""Every option of a run as a field of the page, made from the same schemas as the command line.

A field has an id (LLaMA-Factory's where it has one, so that settings saved there load), the option it sets, the panel
it stands in, and the stage or method it belongs to. A plugin's options become fields by being declared. Knows nothing
of Gradio.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from plugtune.catalog import Catalog
from plugtune.errors import Problem
from plugtune.options.coerce import WrongValue, coerce
from plugtune.options.groups import TRAIN_GROUPS
from plugtune.options.resolve import trainer_specs
from plugtune.options.schema import OptionSpec, specs_of

ELSEWHERE = frozenset(
    {
        # set by controls of their own
        "model_name_or_path", "adapter_name_or_path", "adapter_folder", "quantization_bit", "quantization_method",
        "template", "rope_scaling", "flash_attn", "infer_dtype", "dataset", "eval_dataset", "dataset_dir", "stage",
        "finetuning_type", "do_train", "do_eval", "do_predict", "predict_with_generate", "output_dir",
        "overwrite_output_dir", "resume_from_checkpoint", "bf16", "fp16", "pure_bf16", "plot_loss",
        # not for a page: secrets, foreign code, and what launchers set
        "hf_hub_token", "ms_hub_token", "hub_token", "trust_remote_code", "allow_dataset_scripts", "local_rank",
        "push_to_hub", "deepspeed",
        # inference only
        "compute_dtype",
    }
)  # fmt: skip
"""Options of a run that are not made into fields of their own."""


@dataclass(frozen=True, slots=True)
class Field:
    """One option on the page.

    Attributes:
        id: `train.learning_rate`.
        spec: the option.
        panel: where it stands (`basic`, `extra`, `model`, `stage dpo`, `stage dpo+kto`, `trainer saving` …).
        default: what the page begins with; `None` leaves the option out.
        always: whether it is passed even when it equals the option's own default.
        suggestions: values offered beside free text.
        owners: the stages, methods or exporters that take it; none when every run does.
    """

    id: str
    spec: OptionSpec
    panel: str
    default: Any = None
    always: bool = False
    suggestions: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The option."""
        return self.spec.name

    def applies(self, *chosen: str) -> bool:
        """Whether a run takes it, by what was chosen (`stage dpo`, `method lora`)."""
        return not self.owners or any(owner in chosen for owner in self.owners)


@dataclass(frozen=True, slots=True)
class _Placed:
    option: str
    id: str
    panel: str
    default: Any
    always: bool = True


PLACED = (
    _Placed("learning_rate", "learning_rate", "basic", "5e-5"),
    _Placed("num_train_epochs", "num_train_epochs", "basic", "3.0"),
    _Placed("max_grad_norm", "max_grad_norm", "basic", "1.0"),
    _Placed("max_samples", "max_samples", "basic", None, False),
    _Placed("cutoff_len", "cutoff_len", "basic", 2048),
    _Placed("per_device_train_batch_size", "batch_size", "basic", 2),
    _Placed("gradient_accumulation_steps", "gradient_accumulation_steps", "basic", 8),
    _Placed("val_size", "val_size", "basic", "0", False),
    _Placed("lr_scheduler_type", "lr_scheduler_type", "basic", "cosine"),
    _Placed("seed", "train_seed", "basic", 42, False),
    _Placed("logging_steps", "logging_steps", "extra", "5"),
    _Placed("save_steps", "save_steps", "extra", "100"),
    _Placed("warmup_steps", "warmup_steps", "extra", "0", False),
    _Placed("neftune_noise_alpha", "neftune_alpha", "extra", None, False),
    _Placed("optim", "optim", "extra", None, False),
    _Placed("report_to", "report_to", "extra", None, False),
    _Placed("packing", "packing", "extra", None, False),
    _Placed("neat_packing", "neat_packing", "extra", False, False),
    _Placed("train_on_prompt", "train_on_prompt", "extra", False, False),
    _Placed("mask_history", "mask_history", "extra", False, False),
    _Placed("resize_vocab", "resize_vocab", "extra", False, False),
    _Placed("enable_thinking", "enable_thinking", "extra", True, False),
)
"""Options with a place of their own: LLaMA-Factory's ids and the defaults of its board."""

IDS = {"pissa_init": "use_pissa"}
"""Further options whose id is LLaMA-Factory's."""

SUGGESTIONS = {
    "lr_scheduler_type": (
        "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_restarts", "cosine_with_min_lr",
        "polynomial", "inverse_sqrt", "warmup_stable_decay", "reduce_lr_on_plateau",
    ),
    "optim": ("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adamw_8bit", "paged_adamw_8bit", "rmsprop"),
    "report_to": ("tensorboard", "wandb", "mlflow", "swanlab", "trackio", "all"),
    "eval_strategy": ("no", "steps", "epoch"),
    "save_strategy": ("no", "steps", "epoch", "best"),
    "logging_strategy": ("no", "steps", "epoch"),
}  # fmt: skip

TOPICS = (
    ("optimizer", r"adam_|optim|weight_decay|label_smoothing|lr_|max_steps|full_determinism|data_seed"),
    ("evaluation", r"eval_|per_device_eval|load_best|metric_for|greater_is|batch_eval|generation_|prediction_loss|"
                   r"include_for|label_names|sortish"),
    ("saving", r"save_|hub_|restore_|ignore_data|enable_jit_checkpoint"),
    ("logging", r"log|report|run_name|project|trackio|skip_memory|include_num|disable_tqdm|debug"),
    ("speed", r"torch_|tf32|bf16_|fp16_|use_liger|liger|gradient_checkpointing|activation|auto_find|use_cpu|use_cache"),
    ("loading", r"dataloader|train_sampling|length_column|remove_unused"),
    ("devices", r"ddp_|fsdp|accelerator|parallelism|average_tokens"),
)  # fmt: skip
"""Topics of the trainer's own options, by the beginning of their names; the rest is `other`."""


def train_fields(catalog: Catalog) -> tuple[Field, ...]:
    """All fields of the training page, installed plugins' included, in the order they are shown."""
    places = {place.option: place for place in PLACED}
    switches = {item.switch for item in catalog.all("optimizer")}
    fields: dict[str, Field] = {}
    for spec in _all_specs(catalog):
        if spec.name in ELSEWHERE or _shared(fields, spec):
            continue
        place = places.get(spec.name)
        panel = place.panel if place else panel_of(spec)
        identity = place.id if place else IDS.get(spec.name, spec.name)
        default = place.default if place else _shown(spec)
        _put(fields, Field(
            f"train.{identity}", spec, panel, default, bool(place and place.always), SUGGESTIONS.get(spec.name, ()),
            () if spec.name in switches else _owners(spec),
        ))  # fmt: skip
    found = {item.name: item for item in fields.values()}
    placed = [found[place.option] for place in PLACED if place.option in found]
    return (*placed, *(item for item in fields.values() if item.name not in places))


def exporter_fields(catalog: Catalog) -> tuple[Field, ...]:
    """Fields of every exporter's own options."""
    fields: dict[str, Field] = {}
    for item in catalog.all("exporter"):
        for spec in specs_of(item.options, f"exporter {item.name}") if item.options is not None else ():
            if not _shared(fields, spec):
                _put(fields, Field(f"export.{spec.name}", spec, spec.owner, _shown(spec), owners=_owners(spec)))
    return tuple(fields.values())


def _owners(spec: OptionSpec) -> tuple[str, ...]:
    return (spec.owner,) if spec.owner.partition(" ")[0] in ("stage", "method", "optimizer", "exporter") else ()


def _shared(fields: dict[str, Field], spec: OptionSpec) -> bool:
    """Whether an option is a field already: stages that share an option of one meaning share its field."""
    for identity, item in fields.items():
        if item.name == spec.name and (not item.owners or _same(item.spec, spec)):
            if item.owners and spec.owner.partition(" ")[0] == item.owners[0].partition(" ")[0]:
                owners = (*item.owners, spec.owner)
                kind, names = owners[0].partition(" ")[0], [owner.partition(" ")[2] for owner in owners]
                fields[identity] = replace(item, owners=owners, panel=f"{kind} {'+'.join(names)}")
            return True
    return False


def _same(one: OptionSpec, other: OptionSpec) -> bool:
    return replace(one, owner="", help="") == replace(other, owner="", help="")


def _put(fields: dict[str, Field], item: Field) -> None:
    """Add a field; one that means something else to its owner gets the owner into its id."""
    if item.id in fields:
        page, _, name = item.id.partition(".")
        item = replace(item, id=f"{page}.{item.spec.owner.partition(' ')[2]}_{name}")
    fields[item.id] = item


def _all_specs(catalog: Catalog) -> Iterable[OptionSpec]:
    for owner, group in TRAIN_GROUPS.items():
        yield from (spec for spec in specs_of(group, owner) if owner != "generation")
    for kind in ("stage", "method", "optimizer"):
        for item in catalog.all(kind):
            if item.options is not None:
                yield from specs_of(item.options, f"{kind} {item.name}")
    yield from trainer_specs()


def panel_of(spec: OptionSpec) -> str:
    """The panel of an option: its owner's, and for the trainer's the topic's."""
    if spec.owner != "trainer":
        return spec.owner
    topic = next((topic for topic, pattern in TOPICS if re.match(pattern, spec.name)), "other")
    return f"trainer {topic}"


def _shown(spec: OptionSpec) -> Any:
    if spec.type.startswith("list") or spec.type == "dict":
        return ", ".join(map(str, spec.default)) if spec.default else None
    return spec.default


def values_of(fields: Iterable[Field], values: Mapping[str, Any], *chosen: str) -> tuple[dict[str, Any], list[Problem]]:
    """Options by name for the fields that apply to what was chosen (`stage sft`, `method lora`), and what is wrong.

    An option that has its own default is left out, so that the file of a run holds what was chosen.
    """
    options: dict[str, Any] = {}
    problems: list[Problem] = []
    for item in fields:
        raw = values.get(item.id, item.default)
        if not item.applies(*chosen) or raw is None or raw == "" or raw == []:
            continue
        if item.spec.type == "bool" and item.spec.nullable and raw == "auto":
            continue
        try:
            value = coerce(item.spec, raw)
        except WrongValue as wrong:
            problems.append(Problem(f"{item.name}: {wrong.reason}", where=item.id, fix=wrong.fix))
            continue
        if item.always or value != _default(item.spec):
            options[item.name] = int(value) if _whole(raw, value) else value
    return options, problems


def _default(spec: OptionSpec) -> Any:
    """The default as a value that was given would be read (`"no"` of a switch is false)."""
    try:
        return spec.default if spec.default is None else coerce(spec, spec.default)
    except WrongValue:
        return spec.default


def _whole(raw: Any, value: Any) -> bool:
    """Whether a whole number was written where a fraction is allowed (`5` steps, not `5.0`)."""
    return isinstance(value, float) and str(raw).strip().lstrip("+-").isdigit()


def only(fields: Iterable[Field], *panels: str) -> list[Field]:
    """The fields of some panels."""
    return [item for item in fields if item.panel in panels]


def panels(fields: Iterable[Field], kind: str) -> dict[str, tuple[str, ...]]:
    """Panels of a kind of owner, with the names that they belong to."""
    found = dict.fromkeys(item.panel for item in fields if item.panel.startswith(f"{kind} "))
    return {panel: tuple(panel.partition(" ")[2].split("+")) for panel in found}


def with_defaults(fields: Iterable[Field], **defaults: Any) -> tuple[Field, ...]:
    """The same fields with other defaults."""
    return tuple(replace(f, default=defaults[f.name]) if f.name in defaults else f for f in fields)

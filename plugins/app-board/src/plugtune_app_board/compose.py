"""From what a page holds to a run: options, environment, folder and command. All checks of a request are here.

Values come by id (`top.model_path`, `train.learning_rate` …), as Gradio gives them or as a saved file has them; none is
trusted. Nothing is written or started.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from plugtune.errors import PlugtuneError, Problem, RequestError
from plugtune.options.reader import Given, Request
from plugtune.plugins.host import PluginHost

from plugtune_app_board.confine import check_options, check_text, plain_name
from plugtune_app_board.fields import Field, exporter_fields, train_fields, values_of
from plugtune_app_board.follow import LOG
from plugtune_app_board.known import Known
from plugtune_app_board.settings import Settings

Values = Mapping[str, Any]
COMPUTE: dict[str, dict[str, bool]] = {
    "auto": {}, "bf16": {"bf16": True}, "fp16": {"fp16": True}, "fp32": {"bf16": False, "fp16": False},
    "pure_bf16": {"pure_bf16": True},
}  # fmt: skip
BOOSTERS: dict[str, dict[str, Any]] = {
    "auto": {}, "flashattn2": {"flash_attn": "fa2"}, "liger_kernel": {"use_liger_kernel": True},
    "sdpa": {"flash_attn": "sdpa"}, "eager": {"flash_attn": "eager"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Order:
    """A run as it will be started.

    Attributes:
        kind: `train`, `evaluate` or `export`.
        title: for lists.
        options: what the YAML file holds.
        env: what is added to the environment (devices, hub).
        folder: where its files go, relative to the working folder.
        file: the YAML file.
        log: file of its output.
        proof: a file that it leaves when all went well.
    """

    kind: str
    title: str
    options: dict[str, Any]
    folder: Path
    file: Path
    log: Path
    proof: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def program(self) -> str:
        """The command of plugtune that does it."""
        return "export" if self.kind == "export" else "train"

    def command(self) -> list[str]:
        """The argument list that runs."""
        return [sys.executable, "-m", "plugtune", self.program, str(self.file)]

    def yaml(self) -> str:
        """The file that runs."""
        return yaml.safe_dump(self.options, allow_unicode=True, sort_keys=False)

    def shown(self) -> str:
        """The same run as a person would type it, quoted for a POSIX shell; one flag a line."""
        env = [f"{name}={shlex.quote(value)}" for name, value in self.env.items()]
        flags = [f"--{name}={shlex.quote(flag_text(value))}" for name, value in self.options.items()]
        return " \\\n    ".join([" ".join([*env, "plugtune", self.program]), *flags])


def flag_text(value: Any) -> str:
    """A value as it is written behind a flag."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else "null" if value is None else str(value)


class Composer:
    """Makes orders for one board."""

    def __init__(self, host: PluginHost, settings: Settings) -> None:
        self.host, self.settings = host, settings
        self.known = Known(host.catalog, settings)
        self.fields: tuple[Field, ...] = train_fields(host.catalog)
        self.export_fields: tuple[Field, ...] = exporter_fields(host.catalog)

    # What the top of the page says -----------------------------------------------------------------------------------

    def model(self, values: Values) -> tuple[dict[str, Any], list[Problem]]:
        """Options of the model, its adapters, template and quantization."""
        path = str(values.get("top.model_path") or "").strip()
        if not path:
            return {}, [Problem("no model", where="top.model_path", fix="choose a model name or give a folder")]
        method = self.known.method(values.get("top.finetuning_type") or "lora")
        options: dict[str, Any] = {"model_name_or_path": path}
        chosen = values.get("top.checkpoint_path") or []
        adapters = [self._trained(str(name), values) for name in ([chosen] if isinstance(chosen, str) else chosen)]
        if method.saves_adapter and adapters:
            options["adapter_name_or_path"] = adapters
        elif adapters:
            options["model_name_or_path"] = adapters[0]
        template = str(values.get("top.template") or "auto")
        if template != "auto":
            options["template"] = template
        bits = str(values.get("top.quantization_bit") or "none")
        if bits != "none" and method.quantization:
            options["quantization_bit"] = int(bits) if bits.isdigit() else bits
            if values.get("top.quantization_method") not in (None, "", "bnb"):
                options["quantization_method"] = values["top.quantization_method"]
        if values.get("top.rope_scaling") not in (None, "", "none"):
            options["rope_scaling"] = values["top.rope_scaling"]
        booster = str(values.get("top.booster") or "auto")
        if booster not in BOOSTERS:
            return options, [Problem(f"booster {booster!r} is not available", where="top.booster")]
        options |= BOOSTERS[booster]
        if values.get("top.trust_remote_code"):
            options["trust_remote_code"] = True
        return options, []

    def _trained(self, name: str, values: Values) -> str:
        """A run picked from the list becomes its folder; anything else is a path or id of the user's own."""
        folder = self.known.save_folder(str(values.get("top.model_name")), str(values.get("top.finetuning_type")))
        candidate = folder / name
        if candidate.is_dir() and not Path(name).is_absolute():
            return self.relative(candidate)
        return name

    def relative(self, path: Path) -> str:
        """A path as seen from the working folder, where commands run."""
        return str(path.relative_to(self.settings.work)) if path.is_relative_to(self.settings.work) else str(path)

    def environment(self, values: Values) -> dict[str, str]:
        """Devices and hub, where they differ from the board's own environment."""
        env: dict[str, str] = {}
        hub = str(values.get("top.hub_name") or "huggingface")
        for item in self.known.hubs():
            if item.switch:
                wanted = "1" if item.name == hub else "0"
                now = os.environ.get(item.switch, "").lower() in ("1", "true", "yes")
                if now != (wanted == "1"):
                    env[item.switch] = wanted
        devices = [str(device) for device in values.get("train.devices") or []]
        if devices:
            if not all(device.isdigit() for device in devices):
                raise RequestError(f"devices {', '.join(devices)} are not numbers", where="train.devices")
            env["CUDA_VISIBLE_DEVICES"] = ",".join(sorted(devices, key=int))
        count = int(values.get("train.processes") or 0) or len(devices)
        if count > 1:
            env["NPROC_PER_NODE"] = str(count)
        return env

    # Orders -----------------------------------------------------------------------------------------------------------

    def train(self, values: Values, *, dry: bool = False) -> Order:
        """The order of a training run.

        Raises:
            PlugtuneError: lists everything that is wrong, before anything is written.
        """
        stage = self.known.stage(str(values.get("train.training_stage") or "sft")).name
        method = str(values.get("top.finetuning_type") or "lora")
        options: dict[str, Any] = {"stage": stage, "do_train": True}
        model, problems = self.model(values)
        options |= model | {"finetuning_type": method}
        datasets = _list(values.get("train.dataset"))
        if datasets:
            options["dataset"] = datasets
        options["dataset_dir"] = str(values.get("train.dataset_dir") or "data")
        chosen, wrong = values_of(self.fields, values, stage, method)
        options |= chosen
        compute = str(values.get("train.compute_type") or "auto")
        if compute not in COMPUTE:
            wrong.append(Problem(f"compute type {compute!r} is unknown", where="train.compute_type"))
        options |= COMPUTE.get(compute, {})
        options |= _evaluation(options) | _deepspeed(values)
        folder = self._run_folder(values, "train.output_dir", problems)
        options["output_dir"] = self.relative(folder)
        options["plot_loss"] = True
        options |= self._existing(folder, values)
        options |= _extra(values.get("train.extra_args"), "train.extra_args", wrong)
        self.check(options, [*problems, *wrong])
        order = self._order("train", folder, options, self.environment(values))
        if not dry:
            self._plan(order)
        return order

    def evaluate(self, values: Values) -> Order:
        """The order of an evaluation: answers with scores, or the loss only."""
        method = str(values.get("top.finetuning_type") or "lora")
        predict = bool(values.get("eval.predict", True))
        model, problems = self.model(values)
        options: dict[str, Any] = {"stage": "sft", **model, "finetuning_type": method}
        options |= {"do_predict": True, "predict_with_generate": True} if predict else {"do_eval": True}
        options["eval_dataset"] = _list(values.get("eval.dataset"))
        options["dataset_dir"] = str(values.get("eval.dataset_dir") or "data")
        for identity, name in (
            ("cutoff_len", "cutoff_len"), ("max_samples", "max_samples"), ("batch_size", "per_device_eval_batch_size"),
        ):  # fmt: skip
            if values.get(f"eval.{identity}") not in (None, ""):
                options[name] = values[f"eval.{identity}"]
        if predict:
            options |= {name: values[f"eval.{name}"] for name in ("max_new_tokens", "top_p", "temperature")
                        if values.get(f"eval.{name}") not in (None, "")}  # fmt: skip
        if values.get("eval.eval_seed") not in (None, ""):
            options["seed"] = values["eval.eval_seed"]
        folder = self._run_folder(values, "eval.output_dir", problems)
        options |= {"output_dir": self.relative(folder), "overwrite_output_dir": True}
        options |= _extra(values.get("eval.extra_args"), "eval.extra_args", problems)
        self.check(options, problems)
        order = self._order("evaluate", folder, options, self.environment(values))
        self._plan(order)
        return order

    def export(self, values: Values, identity: str) -> Order:
        """The order of an export; its files are named by `identity`."""
        from plugtune.inference.export import TemplateChoice
        from plugtune.options.groups import ExportOptions, ModelOptions
        from plugtune.options.resolve import resolve

        exporter = self.host.catalog.get("exporter", str(values.get("export.exporter") or "merged"))
        options, problems = self.model(values)
        target = str(values.get("export.export_dir") or "").strip()
        if not target:
            problems.append(Problem("no folder to write", where="export.export_dir", fix="name one"))
        options |= {"exporter": exporter.name, "export_dir": target or "?"}
        if values.get("export.export_size") not in (None, ""):
            options["export_size"] = values["export.export_size"]
        for name in ("infer_dtype",):
            if values.get(f"export.{name}") not in (None, "", "auto"):
                options[name] = values[f"export.{name}"]
        mine = [item for item in self.export_fields if item.spec.owner == f"exporter {exporter.name}"]
        chosen, wrong = values_of(mine, values, "", "")
        options |= chosen | _extra(values.get("export.extra_args"), "export.extra_args", problems)
        self.check(options, [*problems, *wrong])
        groups: dict[str, type] = {"model": ModelOptions, "export": ExportOptions, "template": TemplateChoice}
        if exporter.options is not None:
            groups[f"exporter {exporter.name}"] = exporter.options
        resolve(_request(options), groups)
        state = self.settings.state / "exports"
        folder = self.settings.roots.inside(target, "export.export_dir")
        return Order(
            "export", f"export {Path(target).name}", options, folder, state / f"{identity}.yaml",
            state / f"{identity}.txt", folder / "config.json", self.environment({**values, "train.devices": []}),
        )  # fmt: skip

    # Pieces ----------------------------------------------------------------------------------------------------------

    def _run_folder(self, values: Values, where: str, problems: list[Problem]) -> Path:
        base = self.known.save_folder(str(values.get("top.model_name")), str(values.get("top.finetuning_type")))
        try:
            name = plain_name(str(values.get(where) or ""), where)
            return self.settings.roots.inside(base / name, where)
        except RequestError as error:
            problems += error.problems
            return base / "run"

    def _existing(self, folder: Path, values: Values) -> dict[str, Any]:
        """What happens to an earlier run in the same folder: go on with its newest checkpoint, or start again."""
        if not folder.is_dir() or (not any(folder.glob("*.json*")) and not any(folder.glob("checkpoint-*"))):
            return {}
        if values.get("train.existing") == "restart" or not any(folder.glob("checkpoint-*")):
            return {"overwrite_output_dir": True}
        return {"resume_from_checkpoint": "true"}

    def _order(self, kind: str, folder: Path, options: dict[str, Any], env: dict[str, str]) -> Order:
        title = "/".join(folder.parts[-3:])
        return Order(
            kind, title, options, folder, folder / "training_args.yaml", folder / LOG, folder / "run.json", env
        )

    def check(self, options: Mapping[str, Any], problems: list[Problem]) -> None:
        """Confine the options, old names included; raise with everything that is wrong."""
        from plugtune.options.resolve import expand_aliases

        expanded, _, _ = expand_aliases(_request(options))
        plain = {name: given.value for name, given in expanded.items()}
        problems += check_options({**options, **plain}, self.settings.roots, allow_code=self.settings.allow_code)
        try:
            self._data_inside(plain)
        except PlugtuneError as error:
            problems += error.problems
        if problems:
            raise RequestError.of(problems)

    def _data_inside(self, options: Mapping[str, Any]) -> None:
        """Entries of a registry name files too: they must not lead out."""
        from plugtune.data.registry import Registry

        names = [*_list(options.get("dataset")), *_list(options.get("eval_dataset"))]
        folder = str(self.settings.roots.inside(str(options.get("dataset_dir") or "data"), "dataset_dir"))
        registry = Registry.open(self.host.catalog, folder)
        for name in names:
            if name in registry.entries:
                info, root, _ = registry.entries[name]
                file = info.get("file_name") if isinstance(info, dict) else None
                if file:
                    self.settings.roots.inside(Path(root) / str(file), f"dataset {name}")
            else:
                check_text(name, self.settings.roots, where=f"dataset {name}")

    def _plan(self, order: Order) -> None:
        """The checks of the command itself, which need no library and no weights."""
        from plugtune.training.planner import make_plan

        make_plan(_request(order.options), self.host)


def _request(options: Mapping[str, Any]) -> Request:
    return Request({name: Given(value, f"board {name}") for name, value in options.items()})


def _list(value: Any) -> list[str]:
    if value in (None, ""):
        return []
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def _evaluation(options: Mapping[str, Any]) -> dict[str, Any]:
    """A share kept for evaluation is used: evaluate whenever a checkpoint is saved."""
    if not options.get("val_size") or options.get("eval_strategy"):
        return {}
    return {"eval_strategy": "steps", "eval_steps": options.get("save_steps", 100), "do_eval": True}


def _deepspeed(values: Values) -> dict[str, Any]:
    stage = str(values.get("train.ds_stage") or "none")
    if stage not in ("2", "3"):
        return {}
    zero: dict[str, Any] = {"stage": int(stage), "overlap_comm": True, "contiguous_gradients": True}
    if values.get("train.ds_offload"):
        zero |= {"offload_optimizer": {"device": "cpu"}} | (
            {"offload_param": {"device": "cpu"}} if stage == "3" else {}
        )
    auto = {"train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto", "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto", "bf16": {"enabled": "auto"}, "fp16": {"enabled": "auto"}}  # fmt: skip
    return {"deepspeed": {**auto, "zero_optimization": zero}}


def _extra(text: Any, where: str, problems: list[Problem]) -> dict[str, Any]:
    """The box of further options: a JSON object."""
    if text is None or not str(text).strip():
        return {}
    try:
        values = json.loads(str(text))
    except ValueError as error:
        problems.append(Problem("this is not JSON", where=where, why=str(error), fix='write {"name": value, ...}'))
        return {}
    if not isinstance(values, dict):
        problems.append(Problem("a JSON object is wanted", where=where, fix='write {"name": value, ...}'))
        return {}
    return {str(name).replace("-", "_"): value for name, value in values.items()}

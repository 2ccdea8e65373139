"""From what a page holds to the order of a run: options, environment, folder.

Values come by id (`top.model_path`, `train.learning_rate` …), as Gradio gives them or as a saved file has them; none is
trusted. Nothing is written or started.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugtune.errors import Problem, RequestError
from plugtune.plugins.host import PluginHost

from plugtune_app_board.boxes import BOOSTERS, COMPUTE, EVALUATION, chosen, deepspeed, evaluation, further, names_of
from plugtune_app_board.confine import plain_name
from plugtune_app_board.fields import Field, exporter_fields, train_fields, values_of
from plugtune_app_board.follow import LOG
from plugtune_app_board.known import Known
from plugtune_app_board.order import Order
from plugtune_app_board.settings import Settings
from plugtune_app_board.vet import check, plan, request

Values = Mapping[str, Any]


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
        adapters = [self._trained(name, values) for name in names_of(values.get("top.checkpoint_path"))]
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
            options |= chosen(values, "top", "quantization_method", nothing=("bnb",))
        options |= chosen(values, "top", "rope_scaling", nothing=("none",))
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
        # A process for each device that is ticked; the box of processes is for machines without devices.
        count = len(devices) or int(values.get("train.processes") or 0)
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
        datasets = names_of(values.get("train.dataset"))
        if datasets:
            options["dataset"] = datasets
        options["dataset_dir"] = str(values.get("train.dataset_dir") or "data")
        own, wrong = values_of(self.fields, values, f"stage {stage}", f"method {method}", *self._optimizers(values))
        options |= own
        compute = str(values.get("train.compute_type") or "auto")
        if compute not in COMPUTE:
            wrong.append(Problem(f"compute type {compute!r} is unknown", where="train.compute_type"))
        options |= COMPUTE.get(compute, {})
        options |= evaluation(options) | deepspeed(values)
        folder = self._run_folder(values, "train.output_dir", problems)
        options["output_dir"] = self.relative(folder)
        options["plot_loss"] = True
        options |= self._existing(folder, values)
        options |= further(values.get("train.extra_args"), "train.extra_args", wrong)
        check(self.host, self.settings, options, [*problems, *wrong])
        order = self._order("train", folder, options, self.environment(values))
        if not dry:
            plan(self.host, order.options)
        return order

    def evaluate(self, values: Values) -> Order:
        """The order of an evaluation: answers with scores, or the loss only."""
        method = str(values.get("top.finetuning_type") or "lora")
        predict = bool(values.get("eval.predict", True))
        model, problems = self.model(values)
        options: dict[str, Any] = {"stage": "sft", **model, "finetuning_type": method}
        options |= {"do_predict": True, "predict_with_generate": True} if predict else {"do_eval": True}
        options["eval_dataset"] = names_of(values.get("eval.dataset"))
        options["dataset_dir"] = str(values.get("eval.dataset_dir") or "data")
        boxes = chosen(values, "eval", "cutoff_len", "max_samples", "batch_size", "eval_seed")
        options |= {EVALUATION.get(name, name): value for name, value in boxes.items()}
        if predict:
            options |= chosen(values, "eval", "max_new_tokens", "top_p", "temperature")
        folder = self._run_folder(values, "eval.output_dir", problems)
        options |= {"output_dir": self.relative(folder), "overwrite_output_dir": True}
        options |= further(values.get("eval.extra_args"), "eval.extra_args", problems)
        check(self.host, self.settings, options, problems)
        order = self._order("evaluate", folder, options, self.environment(values))
        plan(self.host, order.options)
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
        options |= chosen(values, "export", "export_size", "infer_dtype", nothing=("auto",))
        own, wrong = values_of(self.export_fields, values, f"exporter {exporter.name}")
        options |= own | further(values.get("export.extra_args"), "export.extra_args", problems)
        check(self.host, self.settings, options, [*problems, *wrong])
        groups: dict[str, type] = {"model": ModelOptions, "export": ExportOptions, "template": TemplateChoice}
        if exporter.options is not None:
            groups[f"exporter {exporter.name}"] = exporter.options
        resolve(request(options), groups)
        state = self.settings.state / "exports"
        folder = self.settings.roots.inside(target, "export.export_dir")
        return Order(
            "export", f"export {Path(target).name}", options, folder, state / f"{identity}.yaml",
            state / f"{identity}.txt", folder, self.environment({**values, "train.devices": []}),
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

    def _optimizers(self, values: Values) -> list[str]:
        """Optimizers that are switched on; the options of the others are not passed."""
        found = self.host.catalog.all("optimizer")
        return [f"optimizer {item.name}" for item in found if values.get(f"train.{item.switch}") in (True, "true")]

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

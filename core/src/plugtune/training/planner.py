"""From a request to a plan: which plugins take part, whose options are whose, and all cross-checks.

Imports no machine-learning library, so a wrong request is told in well under a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plugtune.capabilities import Launcher, Optimizer, Stage, TuningMethod, load_ref
from plugtune.catalog import Catalog
from plugtune.errors import Problem, RequestError
from plugtune.options.checks import cross_check
from plugtune.options.groups import TRAIN_GROUPS
from plugtune.options.reader import Request
from plugtune.options.resolve import Resolved, resolve
from plugtune.options.schema import specs_of
from plugtune.plugins.host import PluginHost
from plugtune.training.launchers import named_launcher
from plugtune.training.plan import Plan


def make_plan(request: Request, host: PluginHost) -> Plan:
    """The plan of a training request.

    Raises:
        PluginError: the stage or the method is not installed.
        RequestError: names, values or combinations are wrong; all of them in one message.
    """
    catalog = host.catalog
    stage: Stage = catalog.get("stage", str(request.peek("stage", "sft")))
    method: TuningMethod = catalog.get("method", str(request.peek("finetuning_type", "lora")))
    groups = dict(TRAIN_GROUPS)
    if stage.options is not None:
        groups[f"stage {stage.name}"] = stage.options
    if method.options is not None:
        groups[f"method {method.name}"] = method.options
    optimizer = _optimizer(request, catalog)
    if optimizer is not None:
        groups[f"optimizer {optimizer.name}"] = optimizer.options
    launcher = named_launcher(request, catalog)
    if launcher is not None and launcher.options is not None:
        groups[f"launcher {launcher.name}"] = launcher.options
    unused = unused_options(catalog, stage, method, optimizer, launcher)
    resolved = resolve(request, groups, trainer=True, unused=unused)
    _check(resolved, stage, method, optimizer, launcher)
    built = resolved.groups
    return Plan(
        stage=stage,
        method=method,
        model=built["model"],
        data=built["data"],
        run=built["run"],
        generation=built["generation"],
        trainer=resolved.trainer,
        optimizer=optimizer,
        optimizer_options=built.get(f"optimizer {optimizer.name}") if optimizer else None,
        launcher=launcher,
        launcher_options=built.get(f"launcher {launcher.name}") if launcher else None,
        stage_options=built.get(f"stage {stage.name}"),
        method_options=built.get(f"method {method.name}"),
        notes=list(resolved.notes),
        plugins=list(host.provenance()),
        request=resolved.given,
        policy=host.policy.as_json(),
    )


def _optimizer(request: Request, catalog: Catalog) -> Optimizer | None:
    """The optimizer of a plugin whose switch the request turns on.

    Raises:
        RequestError: several are turned on.
    """
    on = ("true", "1", "yes", "on")
    found = [o for o in catalog.all("optimizer") if str(request.peek(o.switch, "false")).strip().lower() in on]
    if len(found) > 1:
        switches = " and ".join(o.switch for o in found)
        raise RequestError(
            f"{switches} exclude each other", where=request.values[found[0].switch].where, fix="keep one"
        )
    return found[0] if found else None


def unused_options(
    catalog: Catalog,
    stage: Stage,
    method: TuningMethod,
    optimizer: Optimizer | None = None,
    launcher: Launcher | None = None,
) -> dict[str, str]:
    """Options of installed pieces that this run does not use."""
    found = {}
    used = {piece.kind: piece.name for piece in (stage, method, optimizer, launcher) if piece is not None}
    for kind in ("stage", "method", "optimizer", "launcher"):
        for item in catalog.all(kind):
            if item.options is not None and item.name != used.get(kind):
                found.update({spec.name: f"{kind} {item.name}" for spec in specs_of(item.options)})
    return found


def _check(
    resolved: Resolved, stage: Stage, method: TuningMethod, optimizer: Optimizer | None, launcher: Launcher | None
) -> None:
    values = resolved.values()
    problems = cross_check(values)
    for piece in (stage, method, optimizer, launcher):
        if piece is not None and piece.checks:
            problems += load_ref(piece.checks)(values)
    if optimizer is not None:
        problems += _check_optimizer(optimizer, method, values)
    bits = values["quantization_bit"]
    if bits and bits not in method.quantization:
        problems.append(
            Problem(f"method {method.name} does not train on a {bits}-bit base", where="quantization_bit",
                    fix="use finetuning_type lora, or leave quantization_bit out")
        )  # fmt: skip
    if values["adapter_name_or_path"] and not method.saves_adapter:
        problems.append(
            Problem(f"method {method.name} takes no adapters", where="adapter_name_or_path",
                    fix="merge the adapter first with plugtune export")
        )  # fmt: skip
    if values["packing_length"] and stage.rows == "document":
        problems.append(
            Problem(f"packing_length has no meaning in stage {stage.name}", where="packing_length",
                    why="documents are joined and cut into blocks of cutoff_len", fix="set cutoff_len")
        )  # fmt: skip
    if values["predict_with_generate"] and not stage.generates:
        problems.append(Problem(f"stage {stage.name} does not generate", where="predict_with_generate"))
    if problems:
        raise RequestError.of(problems)


def _check_optimizer(optimizer: Optimizer, method: TuningMethod, values: Mapping[str, Any]) -> list[Problem]:
    problems = []
    if method.saves_adapter and not optimizer.adapters:
        problems.append(
            Problem(f"optimizer {optimizer.name} does not go with method {method.name}", where=optimizer.switch,
                    why="it saves memory on whole weight matrices; an adapter's are small already",
                    fix="use finetuning_type full or freeze")
        )  # fmt: skip
    for other in ("deepspeed", "fsdp"):
        if values.get(other):
            problems.append(
                Problem(f"optimizer {optimizer.name} does not go with {other}", where=optimizer.switch,
                        why="it must see whole weight matrices", fix=f"leave {other} out")
            )  # fmt: skip
    return problems

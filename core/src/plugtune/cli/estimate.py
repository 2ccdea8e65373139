"""`plugtune estimate`: the memory of a run by part, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from plugtune.cli.output import emit_json, table
from plugtune.options.schema import option

GIB = 1 << 30


@dataclass(slots=True)
class EstimateOptions:
    """What an estimate is asked about, besides the options of the run itself."""

    devices: int = option(1, help="Devices that the run is spread over.", minimum=1)
    sharding: str = option(
        "auto",
        help="What is split over them; auto follows deepspeed and fsdp.",
        choices=("auto", "none", "ddp", "zero1", "zero2", "zero3", "fsdp"),
    )
    row_tokens: int | None = option(None, help="Tokens of a row; cutoff_len when left out.", minimum=1)
    trained_share: float = option(1.0, help="Share of the tokens that is trained on.", minimum=0, maximum=1)
    memory_gb: float | None = option(None, help="Memory of a device in GiB; this machine's when left out.", minimum=0)
    device: str = option("auto", help="Where the run computes.", choices=("auto", "cpu", "gpu"))


@click.command("estimate", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Memory of a run: plugtune estimate [CONFIG.yaml] --model_name_or_path MODEL [--flag value ...]"""
    args = list(arguments)
    if {"--help", "-h"} & set(args) or not args:
        click.echo(_help())
        return
    as_json, grid = "--json" in args, "--table" in args
    from plugtune.options.reader import read_request
    from plugtune.plugins.host import PluginHost

    request = read_request([arg for arg in args if arg not in ("--json", "--table")])
    host = PluginHost().load()
    if grid:
        _grid(request, host, as_json)
        return
    sized = estimate_request(request, host)
    if as_json:
        emit_json(sized.as_json())
    else:
        _print(sized)


def estimate_request(request: Any, host: Any) -> Any:
    """The estimate of a request (`training.sizing.Sized`).

    Raises:
        RequestError: the request is wrong, or the model's size is not known.
    """
    from plugtune.data.packing import room_of
    from plugtune.errors import RequestError
    from plugtune.modeling.machine import machine
    from plugtune.options.groups import TRAIN_GROUPS
    from plugtune.options.resolve import resolve
    from plugtune.training.planner import unused_options
    from plugtune.training.sizing import adapted_of, setting_of, shape_for, shard_of, size, stage_sizes, trained_of

    catalog = host.catalog
    stage = catalog.get("stage", str(request.peek("stage", "sft")))
    method = catalog.get("method", str(request.peek("finetuning_type", "lora")))
    groups = {**TRAIN_GROUPS, "estimate": EstimateOptions}
    for piece in (stage, method):
        if piece.options is not None:
            groups[f"{piece.kind} {piece.name}"] = piece.options
    resolved = resolve(request, groups, trainer=True, unused=unused_options(catalog, stage, method))
    model, asked = resolved.groups["model"], resolved.groups["estimate"]
    if not model.model_name_or_path:
        raise RequestError("no model", where="model_name_or_path", fix="add --model_name_or_path NAME, FOLDER or 7B")
    if model.quantization_bit and model.quantization_bit not in method.quantization:
        raise RequestError(f"method {method.name} does not train on a {model.quantization_bit}-bit base",
                           where="quantization_bit")  # fmt: skip
    values = resolved.values()
    shape = shape_for(str(model.model_name_or_path), catalog)
    trained = trained_of(method, resolved.groups.get(f"method {method.name}"), shape)
    gpu = asked.device == "gpu" or (asked.device == "auto" and machine()[1] != "this machine's memory")
    row = min(asked.row_tokens or values["cutoff_len"], values["cutoff_len"])
    if values["packing"] or values["neat_packing"]:
        row = room_of(resolved.groups["data"])
    setting = setting_of(
        values, stage_sizes(stage, values, method.saves_adapter),
        tokens=row * int(values.get("per_device_train_batch_size") or 8), share=asked.trained_share,
        world=asked.devices, shard=shard_of(values, asked.sharding), gpu=gpu, stored=shape.stored,
    )  # fmt: skip
    memory = None if asked.memory_gb is None else int(asked.memory_gb * GIB)
    return size(shape, trained, setting, values, memory=memory, adapted=adapted_of(catalog, shape))


def _print(sized: Any) -> None:
    shape, setting, made = sized.shape, sized.setting, sized.estimate
    click.echo(f"model: {shape.parameters / 1e9:.3g} billion parameters, from {shape.source}")
    click.echo(f"trained: {sized.trained.parameters:,} parameters; a batch of {setting.tokens:,} tokens, "
               f"{setting.targets:,} of them trained on")  # fmt: skip
    click.echo(f"gradient checkpointing: {'on' if setting.checkpointing else 'off'}")
    over = f" on each of {setting.world} devices" if setting.world > 1 else ""
    click.echo(f"\nmemory{over}:")
    rows = [(name, f"{size / GIB:.2f} GiB") for name, size in made.parts().items() if size]
    table(("part", "size"), rows)
    click.echo(f"\npeak: {made.peak / GIB:.2f} GiB, at {made.moment} (not all parts are there at the same time)")
    verdict = "it fits" if sized.fits else "it does not fit"
    click.echo(f"{sized.place}: {sized.free / GIB:.2f} GiB free: {verdict}")
    for number, (change, peak) in enumerate(sized.advice, 1):
        click.echo(f"  {number}. {change}: {peak / GIB:.2f} GiB")
    if sized.advice and sized.advice[-1][1] > sized.free:
        click.echo("  even all of these together do not make it fit here")


GRID_SIZES = ("7B", "13B", "30B", "65B")


def _grid(request: Any, host: Any, as_json: bool) -> None:
    """The tutorial's table: every installed method against four sizes, 16-bit weights, one row of 1,024 tokens."""
    from plugtune.options.reader import Given, Request

    fixed = {
        "cutoff_len": "1024", "per_device_train_batch_size": "1", "gradient_checkpointing": "true", "device": "gpu",
        "compute_dtype": "bfloat16",
    }  # fmt: skip
    rows = []
    for method in host.catalog.all("method"):
        for bits in (16, *sorted(method.quantization, reverse=True)):
            cells = []
            for billions in GRID_SIZES:
                wanted = {**fixed, "model_name_or_path": billions, "finetuning_type": method.name}
                if bits != 16:
                    wanted["quantization_bit"] = str(bits)
                given = {name: Given(value, "--table") for name, value in wanted.items()}
                sized = estimate_request(Request({**given, **request.values}), host)
                cells.append(sized.estimate.peak)
            rows.append((method.name, bits, cells))
    if as_json:
        emit_json([{"method": m, "bits": b, "peak_bytes": dict(zip(GRID_SIZES, c, strict=True))} for m, b, c in rows])
        return
    table(("method", "bits", *GRID_SIZES), [(m, b, *(f"{x / 1e9:.0f}GB" for x in c)) for m, b, c in rows])


def _help() -> str:
    from plugtune.options.help import options_help
    from plugtune.options.schema import specs_of

    usage = (
        "Usage: plugtune estimate [CONFIG.yaml] --model_name_or_path MODEL [--flag value ...] [--json] [--table]\n\n"
        "MODEL is a folder, a config.json, a name of plugtune list models, a hub id, or a size such as 7B; nothing is\n"
        "downloaded. All options of plugtune train are taken. --table shows every method against four sizes.\n\n"
    )
    return usage + options_help([("estimate options", specs_of(EstimateOptions))])

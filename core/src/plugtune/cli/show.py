"""`plugtune show KIND NAME`: everything about one capability."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from plugtune.cli.output import emit_json


@click.command("show")
@click.argument("kind")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(kind: str, name: str, as_json: bool) -> None:
    """Options, hub ids, default template, LoRA targets, examples of one capability."""
    from plugtune.catalog import PLURALS
    from plugtune.errors import RequestError, did_you_mean
    from plugtune.plugins.host import PluginHost

    single = PLURALS.get(kind, kind)
    if single not in PLURALS.values():
        raise RequestError(f"unknown kind {kind!r}", fix=did_you_mean(kind, PLURALS) or f"one of {', '.join(PLURALS)}")
    catalog = PluginHost().load().catalog
    answer = _model(catalog, name) if single == "model" else _capability(catalog, single, name)
    if as_json:
        emit_json(answer)
        return
    for key, value in answer.items():
        if key == "options":
            click.echo("options:")
            for option in value:
                values = "{" + ",".join(map(str, option["choices"])) + "}" if option["choices"] else ""
                values = values or option["type"].upper()
                click.echo(f"  --{option['name']} {values}  [default: {option['default']}]  {option['help']}")
        elif value not in ("", None, [], {}, ()):
            click.echo(f"{key}: {value}")


def _capability(catalog: Any, kind: str, name: str) -> dict[str, Any]:
    from plugtune.options.schema import specs_of

    entry = catalog.entry(kind, name)
    values = {f.name: getattr(entry.item, f.name) for f in dataclasses.fields(entry.item) if f.name != "options"}
    if getattr(entry.item, "options", None) is not None:
        values["options"] = [spec.as_json() for spec in specs_of(entry.item.options, f"{kind} {name}")]
    if kind == "family":
        values["models"] = [m.name for m in entry.item.models]
    return {
        "kind": kind,
        "plugin": entry.plugin,
        "distribution": entry.distribution,
        "version": entry.version,
        **values,
    }


def _model(catalog: Any, name: str) -> dict[str, Any]:
    from plugtune.errors import PluginError, did_you_mean

    models = {m.name: (family, m) for family in catalog.all("family") for m in family.models}
    if name not in models:
        raise PluginError(f"unknown model {name!r}", fix=did_you_mean(name, models) or "plugtune list models")
    family, model = models[name]
    return {
        "kind": "model", "name": name, "size": model.size, "hub": dict(model.hub), "chat": model.chat,
        "template": model.template, "family": family.name, "lora_targets": list(family.lora_targets),
    }  # fmt: skip

"""`plugtune new KIND NAME`: a complete plugin that builds, installs and passes the conformance kit as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from plugtune.cli.output import emit_json


@click.command("new")
@click.argument("kind")
@click.argument("name")
@click.option("--output", help="Folder to write; by default the distribution's name, here.")
@click.option("--model-type", "--model_type", "model_type", help="Families: `model_type` of their config.json.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(kind: str, name: str, output: str | None, model_type: str | None, as_json: bool) -> None:
    """Write a plugin of KIND (template, family, format, stage, exporter) that provides NAME."""
    from plugtune import __version__, scaffold
    from plugtune.errors import RequestError
    from plugtune.hookspecs import API_VERSION

    scaffold.check_name(kind, name)
    if model_type and kind != "family":
        raise RequestError("only families have a model type", where="--model-type", fix="leave it out")
    values = scaffold.values_for(kind, name, __version__, "v{}_{}".format(*API_VERSION))
    _refuse_clash(kind, name, values["plugin"], values["distribution"])
    if kind == "family":
        values |= _family_values(name, model_type)
    folder = Path(output) if output else Path(values["distribution"])
    files = scaffold.write(kind, folder, values)
    if as_json:
        keys = ("kind", "name", "plugin", "distribution", "module")
        emit_json({**{key: values[key] for key in keys}, "folder": str(folder), "files": files})
        return
    click.echo(f"wrote {folder} ({', '.join(f for f in files if f.startswith('src/'))})")
    click.echo(f'    pip install -e "{folder}[test]"')
    click.echo(f"    plugtune testkit {folder}")
    click.echo(values["next_steps"])


def _refuse_clash(kind: str, name: str, plugin: str, distribution: str) -> None:
    from plugtune.catalog import official_provider
    from plugtune.errors import RequestError
    from plugtune.plugins.index import read_index

    index = read_index()
    owner = next((f"plugin {row['plugin']}" for row in index.rows(kind) if row["name"] == name), "")
    owner = owner or official_provider(kind, name)
    owner = owner or next((f"distribution {p['distribution']}" for p in index.plugins if p["name"] == plugin), "")
    if owner:
        raise RequestError(
            f"{kind} {name!r} is taken by {owner}", where="NAME", why="a name has one owner",
            fix=f"choose another name, for example: plugtune new {kind} my-{name}",
        )  # fmt: skip


def _family_values(name: str, model_type: str | None) -> dict[str, str]:
    """The model type and, where transformers knows it, its linear layers; else the kit is told why it has no model."""
    from plugtune.errors import RequestError
    from plugtune.plugins.host import PluginHost

    wanted = model_type or name.replace("-", "_")
    claims: dict[str, Any] = {t: f for f in PluginHost().load().catalog.all("family") for t in f.model_types}
    if wanted in claims:
        raise RequestError(
            f"model type {wanted!r} is claimed by family {claims[wanted].name}", where="--model-type",
            fix="give the model type that your models have in config.json",
        )  # fmt: skip
    targets = _linear_layers(wanted)
    if not targets and model_type:
        raise RequestError(
            f"transformers knows no causal language model of type {model_type!r}", where="--model-type",
            fix="leave it out, and fill in `model_types` and the test's `tiny` yourself",
        )  # fmt: skip
    reason = f'    why_no_model = "transformers knows no model type {wanted}; build a tiny model in `tiny(folder)`"'
    return {
        "model_type": wanted,
        "lora_targets": ", ".join(f'"{target}"' for target in targets),
        "no_tiny": "" if targets else reason,
    }


def _linear_layers(model_type: str) -> list[str]:
    from plugtune.modeling.methods import linear_names
    from plugtune.testkit.models import UnknownModelType, tiny_model, tiny_tokenizer

    try:
        return linear_names(tiny_model(model_type, tiny_tokenizer()))
    except UnknownModelType:
        return []

"""`plugtune list`: what is installed, by kind. Reads the index and loads no plugin code."""

from __future__ import annotations

from typing import Any

import click

from plugtune.cli.output import emit_json, table


@click.command("list")
@click.argument("kind", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(kind: str | None, as_json: bool) -> None:
    """Installed capabilities of a KIND: families, models, templates, formats, stages, methods, exporters, ..."""
    from plugtune.catalog import PLURALS
    from plugtune.errors import RequestError, did_you_mean
    from plugtune.plugins.index import read_index

    kinds = {**PLURALS, **{single: single for single in PLURALS.values()}}
    if kind is not None and kind not in kinds:
        raise RequestError(f"unknown kind {kind!r}", fix=did_you_mean(kind, PLURALS) or f"one of {', '.join(PLURALS)}")
    index = read_index()
    wanted = [kinds[kind]] if kind else list(PLURALS.values())
    rows = [(k, row) for k in wanted for row in sorted(index.rows(k), key=lambda r: str(r["name"]))]
    if as_json:
        keep = ("name", "plugin", "version", "summary", "size", "hub", "chat", "family", "template")
        emit_json([{"kind": k, **{key: row[key] for key in keep if key in row}} for k, row in rows])
        return
    if kind is None:
        rows = [(k, row) for k, row in rows if k != "model"]
        table(["KIND", "NAME", "PLUGIN", "VERSION", "SUMMARY"],
              [(k, r["name"], r["plugin"], r["version"], r["summary"]) for k, r in rows])  # fmt: skip
        click.echo(f"{len(index.rows('model'))} models: plugtune list models")
        return
    if wanted == ["model"]:
        _models([row for _, row in rows])
        return
    table(
        ["NAME", "PLUGIN", "VERSION", "SUMMARY"],
        [(r["name"], r["plugin"], r["version"], r["summary"]) for _, r in rows],
    )


def _models(rows: list[dict[str, Any]]) -> None:
    hubs = ("huggingface", "modelscope")
    table(
        ["NAME", "SIZE", "FAMILY", "TEMPLATE", *(hub.upper() for hub in hubs), "PLUGIN"],
        [(r["name"], r["size"], r["family"], r["template"], *(r["hub"].get(h, "") for h in hubs), r["plugin"])
         for r in rows],
    )  # fmt: skip

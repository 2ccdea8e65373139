"""`plugtune data preview|check|convert|add`: look at rows, count them, convert files, register them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import click

from plugtune.cli.output import emit_json


@click.group("data")
def command() -> None:
    """Preview, check, convert and register data sets."""


def _open(dataset: str, dataset_dir: str) -> tuple[Any, Any]:
    from plugtune.data.registry import Registry
    from plugtune.plugins.host import PluginHost

    host = PluginHost().load()
    return host, Registry.open(host.catalog, dataset_dir).resolve(dataset)


def _kind_of(spec: Any) -> str:
    if spec.ranking:
        return "preference"
    return "feedback" if spec.columns.get("kto_tag") else spec.format.makes[0]


@command.command("preview")
@click.argument("dataset")
@click.option("--dataset_dir", "--dataset-dir", default="data", help="Folder with dataset_info.json.")
@click.option("--page", default=1, help="Page to show, from 1.")
@click.option("--rows", default=2, help="Rows a page.")
@click.option("--model", help="Model folder; shows the rows as tokens, trained ones marked.")
@click.option("--template", default="auto", help="Chat template for --model.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def preview(
    dataset: str, dataset_dir: str, page: int, rows: int, model: str | None, template: str, as_json: bool
) -> None:
    """Page through the rows of DATASET (a name or a file) as the model will see them."""
    import dataclasses

    from plugtune.data.pipeline import converter, raw_rows
    from plugtune.data.records import Conversation, RowError

    host, spec = _open(dataset, dataset_dir)
    convert = converter(spec, _kind_of(spec))
    shown = []
    start = (page - 1) * rows
    encode = _encoder(host, model, template) if model else None
    for raw in islice(raw_rows(spec), start, start + rows):
        entry: dict[str, Any] = {"row": raw.where.row, "line": raw.where.line}
        try:
            record = convert(raw.values)
            entry["record"] = dataclasses.asdict(record)
            if encode is not None and isinstance(record, Conversation):
                entry |= encode(record)
        except RowError as error:
            entry["error"] = str(error)
        shown.append(entry)
    if as_json:
        emit_json({"dataset": spec.name, "format": spec.format.name, "page": page, "rows": shown})
        return
    click.echo(f"{spec.name}: format {spec.format.name}, {spec.origin}")
    for entry in shown:
        click.echo(f"row {entry['row']}")
        if "error" in entry:
            click.echo(f"  error: {entry['error']}")
        elif "tokens" in entry:
            text = "".join(click.style(t["text"], fg="green" if t["train"] else None) for t in entry["tokens"])
            click.echo(
                text + f"\n  [{len(entry['tokens'])} tokens, {sum(t['train'] for t in entry['tokens'])} trained on]"
            )
        else:
            for message in entry["record"].get("messages", [entry["record"]]):
                click.echo(f"  {message.get('role', '')}: {message.get('content', message)}")


def _encoder(host: Any, model: str, template: str) -> Any:
    from plugtune.data.lengths import LengthRules, assemble
    from plugtune.modeling.locate import locate
    from plugtune.modeling.tokenizer import load_tokenizer
    from plugtune.options.groups import ModelOptions
    from plugtune.templating.choose import bind

    options = ModelOptions(model_name_or_path=model)
    tokenizer = load_tokenizer(locate(options, host.catalog), options)
    bound = bind(template, host.catalog, tokenizer)

    def encode(record: Any) -> dict[str, Any]:
        chat = bound.encode([record])[0]
        if isinstance(chat, Exception):
            return {"error": str(chat)}
        rows = assemble(chat, LengthRules(1 << 30))
        if not isinstance(rows, list):
            return {"error": str(rows)}
        ids, labels = rows[0].columns["input_ids"], rows[0].columns["labels"]
        return {
            "tokens": [
                {"id": i, "text": tokenizer.decode([i]), "train": t != -100} for i, t in zip(ids, labels, strict=True)
            ]
        }

    return encode


@command.command("check")
@click.argument("dataset")
@click.option("--dataset_dir", "--dataset-dir", default="data", help="Folder with dataset_info.json.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def check(dataset: str, dataset_dir: str, as_json: bool) -> None:
    """Read every row of DATASET and report those that cannot be used, with reason and row; exit 2 if any."""
    from plugtune.data.pipeline import converter, raw_rows
    from plugtune.data.records import RowError
    from plugtune.data.report import SetReport

    _, spec = _open(dataset, dataset_dir)
    convert, count = converter(spec, _kind_of(spec)), SetReport(spec.name)
    for raw in raw_rows(spec):
        count.read += 1
        try:
            convert(raw.values)
            count.kept += 1
        except RowError as error:
            count.refuse(raw.where, error)
    answer = {"dataset": spec.name, "format": spec.format.name, "kind": _kind_of(spec), "read": count.read,
              "good": count.kept, "bad": count.bad_count, "first_bad": [str(p) for p in count.bad]}  # fmt: skip
    if as_json:
        emit_json(answer)
    else:
        click.echo(
            f"{spec.name}: format {spec.format.name}, {count.read} rows, {count.kept} good, {count.bad_count} bad"
        )
        for problem in count.bad:
            click.echo(f"  {problem}")
    raise click.exceptions.Exit(2 if count.bad_count else 0)


@command.command("convert")
@click.option("--input", "source", required=True, help="File to convert (CSV, JSON, JSON lines, Parquet).")
@click.option("--join", "joined", help="Second file, joined to the first.")
@click.option("--on", "key", help="Column that joins the two files.")
@click.option("--user", required=True, help="Column of the question; FILE_STEM.column when both files have it.")
@click.option("--assistant", required=True, help="Column of the answer; FILE_STEM.column when both files have it.")
@click.option("--system", help="Column of the system prompt.")
@click.option("--limit", type=int, help="Only the first N rows.")
@click.option("--output", required=True, help="JSON file to write, in sharegpt form.")
@click.option("--register", "name", help="Name to register it under, in the dataset_info.json beside it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def convert_command(
    source: str, joined: str | None, key: str | None, user: str, assistant: str, system: str | None, limit: int | None,
    output: str, name: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Turn table files into a registered sharegpt set, a question and its answer a row; two files are joined."""
    from plugtune.data.convert import join_rows, sharegpt_rows, write_rows

    rows = join_rows(Path(source), Path(joined) if joined else None, key)
    converted, skipped = sharegpt_rows(rows, user, assistant, system, limit)
    write_rows(Path(output), converted)
    if name:
        from plugtune.data.register import register

        register(Path(output).parent, name, sharegpt_entry(Path(output).name, system))
    answer = {"output": output, "rows": len(converted), "left_out": skipped, "registered": name}
    if as_json:
        emit_json(answer)
    else:
        click.echo(f"wrote {len(converted)} rows to {output}" + (f", registered as {name}" if name else ""))
        for reason, count in skipped.items():
            click.echo(f"  {count} rows left out: {reason}")


def sharegpt_entry(file_name: str, system: str | None) -> dict[str, Any]:
    """The registry entry of a converted file."""
    columns = {"messages": "conversations", **({"system": "system"} if system else {})}
    return {"file_name": file_name, "formatting": "sharegpt", "columns": columns}


@command.command("add")
@click.argument("file")
@click.option("--name", help="Name to register it under; the file's stem by default.")
@click.option("--dataset_dir", "--dataset-dir", help="Folder with dataset_info.json; the file's own by default.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def add(file: str, name: str | None, dataset_dir: str | None, as_json: bool) -> None:
    """Recognise the format of FILE and write its entry into dataset_info.json."""
    import os

    from plugtune.data.register import register
    from plugtune.data.registry import Registry
    from plugtune.plugins.host import PluginHost

    path = Path(file)
    folder = Path(dataset_dir) if dataset_dir else path.parent
    catalog = PluginHost().load().catalog
    spec = Registry(catalog).resolve(str(path))
    defaults = spec.format.columns
    entry: dict[str, Any] = {"file_name": os.path.relpath(path, folder), "formatting": spec.format.name}
    columns = {k: v for k, v in spec.columns.items() if v is not None and v != defaults.get(k)}
    tags = {k: v for k, v in spec.tags.items() if v != spec.format.tags.get(k)}
    entry |= {k: v for k, v in (("columns", columns), ("tags", tags), ("ranking", spec.ranking)) if v}
    register(folder, name or path.stem, entry)
    if as_json:
        emit_json({"name": name or path.stem, "registry": str(folder / "dataset_info.json"), "entry": entry})
    else:
        click.echo(f"registered {name or path.stem} in {folder / 'dataset_info.json'}: {entry}")

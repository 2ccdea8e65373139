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

    from plugtune.data.filters import filtered
    from plugtune.data.pipeline import converter, raw_rows
    from plugtune.data.records import Conversation, RowError, RowLeftOut

    host, spec = _open(dataset, dataset_dir)
    convert = filtered(spec.filters, converter(spec, _kind_of(spec)))
    shown = []
    start = (page - 1) * rows
    encode = _encoder(host, model, template) if model else None
    for raw in islice(raw_rows(spec), start, start + rows):
        entry: dict[str, Any] = {"row": raw.where.row, "line": raw.where.line}
        try:
            record = convert(raw)
            entry["record"] = dataclasses.asdict(record)
            if encode is not None and isinstance(record, Conversation):
                entry |= encode(record)
        except RowError as error:
            entry["error"] = str(error)
        except RowLeftOut as left:
            entry["left_out"] = left.reason
        shown.append(entry)
    if as_json:
        emit_json({"dataset": spec.name, "format": spec.format.name, "page": page, "rows": shown})
        return
    click.echo(f"{spec.name}: format {spec.format.name}, {spec.origin}")
    for entry in shown:
        click.echo(f"row {entry['row']}")
        if "left_out" in entry:
            click.echo(f"  left out: {entry['left_out']}")
        elif "error" in entry:
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
    from plugtune.data.filters import filtered
    from plugtune.data.pipeline import converter, raw_rows
    from plugtune.data.records import RowError, RowLeftOut
    from plugtune.data.report import SetReport

    _, spec = _open(dataset, dataset_dir)
    count = SetReport(spec.name)
    convert = filtered(spec.filters, converter(spec, _kind_of(spec)), count)
    for raw in raw_rows(spec):
        count.read += 1
        try:
            convert(raw)
            count.kept += 1
        except RowError as error:
            count.refuse(raw.where, error)
        except RowLeftOut as left:
            count.drop(raw.where.row, left.reason)
    counts = count.as_json()
    answer = {"dataset": spec.name, "format": spec.format.name, "kind": _kind_of(spec), "read": count.read,
              "good": count.kept, "bad": count.bad_count, "first_bad": [str(p) for p in count.bad],
              "dropped": counts["dropped"], "changed": counts["changed"]}  # fmt: skip
    if as_json:
        emit_json(answer)
    else:
        click.echo(
            f"{spec.name}: format {spec.format.name}, {count.read} rows, {count.kept} good, {count.bad_count} bad"
        )
        for problem in count.bad:
            click.echo(f"  {problem}")
        for word, reasons in (("left out, ", counts["dropped"]), ("changed by ", counts["changed"])):
            for reason, found in reasons.items():
                click.echo(f"  {found['rows']} rows {word}{reason}: rows {', '.join(map(str, found['first_rows']))}")
    raise click.exceptions.Exit(2 if count.bad_count else 0)


@command.command("convert")
@click.argument("dataset", required=False)
@click.option("--input", "source", help="The same as DATASET.")
@click.option("--dataset_dir", "--dataset-dir", default="data", help="Folder with dataset_info.json.")
@click.option("--to", "target", default="sharegpt", show_default=True, help="Format to write (plugtune list formats).")
@click.option(
    "--kind", type=click.Choice(["conversation", "preference", "feedback", "document"]),
    help="What the rows are; by default as the data set's entry says.",
)  # fmt: skip
@click.option("--join", "joined", help="Tables: second file, joined to the first.")
@click.option("--on", "key", help="Tables: column that joins the two files.")
@click.option("--user", help="Tables: column of the question; FILE_STEM.column when both files have it.")
@click.option("--assistant", help="Tables: column of the answer; FILE_STEM.column when both files have it.")
@click.option("--system", help="Tables: column of the system prompt.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N rows.")
@click.option("--max_bad_rows", "--max-bad-rows", default=0, help="How many unreadable rows are left out and counted.")
@click.option("--output", required=True, help="File to write, .json or .jsonl.")
@click.option("--register", "name", help="Name to register it under, in the dataset_info.json beside it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def convert_command(
    dataset: str | None, source: str | None, dataset_dir: str, target: str, kind: str | None, joined: str | None,
    key: str | None, user: str | None, assistant: str | None, system: str | None, limit: int | None,
    max_bad_rows: int, output: str, name: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Write DATASET (a name or a file) in another format, without loss.

    With --user and --assistant DATASET is a table, a question and its answer a row; --join adds a second table.
    """
    from plugtune.data.convert import Target, convert_records, refuse_own_input
    from plugtune.plugins.host import PluginHost

    if (dataset is None) == (source is None):
        raise click.UsageError("give one data set or file to convert: DATASET or --input FILE")
    catalog = PluginHost().load().catalog
    given = str(dataset or source)
    if user or assistant or joined or key or system:
        records, inputs = _table(given, joined, key, user, assistant, system), [given, joined]
        found: Any = "conversation"
    else:
        records, inputs, found = _records(catalog, given, dataset_dir, kind)
    refuse_own_input(Path(output), [Path(path) for path in inputs if path])
    done = convert_records(
        records, Target(catalog, target, found), Path(output), name=given, kind=found, max_bad_rows=max_bad_rows,
        limit=limit,
    )  # fmt: skip
    if name:
        from plugtune.data.register import register

        register(Path(output).parent, name, done.entry)
    _tell_converted(done, output, name, as_json)


def _table(
    first: str, second: str | None, key: str | None, user: str | None, assistant: str | None, system: str | None
) -> Any:
    from plugtune.data.convert import records_of_table
    from plugtune.data.tables import Table, TableColumns

    if not user or not assistant:
        raise click.UsageError("a table needs --user and --assistant, the columns of question and answer")
    columns = TableColumns(user, assistant, system)
    return records_of_table(Table(Path(first), Path(second) if second else None, key, columns))


def _records(catalog: Any, dataset: str, dataset_dir: str, kind: str | None) -> tuple[Any, list[str | None], Any]:
    from plugtune.data.convert import records_of
    from plugtune.data.registry import Registry
    from plugtune.errors import RequestError

    spec = Registry.open(catalog, dataset_dir).resolve(dataset)
    found = kind or _kind_of(spec)
    if found not in spec.format.makes:
        raise RequestError(
            f"format {spec.format.name} makes no {found} rows",
            where="--kind",
            fix=f"one of {', '.join(spec.format.makes)}",
        )
    return records_of(spec, found), [str(spec.path) if spec.path else None], found


def _tell_converted(done: Any, output: str, name: str | None, as_json: bool) -> None:
    counts = done.report.as_json()
    left_out = {reason: drop["rows"] for reason, drop in counts["dropped"].items()}
    if as_json:
        emit_json(
            {"output": output, "rows": done.rows, "read": done.report.read, "left_out": left_out, "bad": counts["bad"],
             "registered": name, "entry": done.entry}
        )  # fmt: skip
        return
    click.echo(f"wrote {done.rows} rows to {output}" + (f", registered as {name}" if name else ""))
    for reason, count in left_out.items():
        click.echo(f"  {count} rows left out: {reason}")
    for problem in counts["bad"]["first"]:
        click.echo(f"  left out: {problem.splitlines()[0]}")


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

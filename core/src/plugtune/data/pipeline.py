"""From data set names to token rows: read, convert, encode, count, cache, mix, split.

The rows of each data set are prepared once and kept in a content-addressed cache as Arrow; the same file, mapping,
template and options are never tokenized twice. Knows no format, template or stage by name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from plugtune.capabilities import load_ref
from plugtune.catalog import Catalog
from plugtune.data.cache import REPORT, cache_folder, forget, key_of, staged, stored
from plugtune.data.encoding import Encoder
from plugtune.data.kept import is_kept, keep, load_kept
from plugtune.data.packing import PackedRows, pack_columns, room_of
from plugtune.data.paths import MISSING, is_path, value_at
from plugtune.data.records import RECORDS, RawRow, Record, RowError, RowLeftOut
from plugtune.data.registry import DatasetSpec, Registry
from plugtune.data.report import DataReport, SetReport
from plugtune.data.shards import counted, shard_files, write_shards
from plugtune.data.sound import check_record
from plugtune.data.sources import read_rows
from plugtune.data.work import Work, arrow_schema, tally
from plugtune.data.workers import batches_of
from plugtune.errors import DataError
from plugtune.options.groups import DataOptions


@dataclass(slots=True)
class Prepared:
    """Token rows for training and evaluation (`datasets.Dataset` or `IterableDataset`), and the report."""

    train: Any = None
    evaluation: Any = None
    report: DataReport = field(default_factory=DataReport)


def prepare(
    options: DataOptions,
    catalog: Catalog,
    *,
    row_kind: str,
    encoder_for: Callable[[bool], Encoder],
    seed: int,
    need_train: bool = True,
    need_eval: bool = False,
    hub: str | None = None,
) -> Prepared:
    """Token rows for a run.

    Raises:
        DataError: a data set is missing, broken, of the wrong kind, or has more bad rows than allowed.
    """
    if options.tokenized_path and is_kept(options.tokenized_path):
        return _packed(Prepared(*load_kept(options.tokenized_path)), options, row_kind)
    registry = Registry.open(
        catalog, options.dataset_dir, options.dataset_info, allow_scripts=options.allow_dataset_scripts, hub=hub
    )
    # All names are resolved before any row is read, so that a typo in the last one costs nothing.
    train_specs = [registry.resolve(name) for name in options.dataset] if need_train or not options.eval_dataset else []
    eval_specs = [registry.resolve(name) for name in options.eval_dataset] if need_eval or options.eval_dataset else []
    for spec in (*train_specs, *eval_specs):
        check_kind(spec, row_kind)
    prepared = Prepared()
    if options.streaming:
        return _stream(train_specs, eval_specs, options, encoder_for, seed, row_kind)
    parts = [_one_set(spec, options, encoder_for(True), prepared.report, row_kind) for spec in train_specs]
    train = _mix(parts, options, seed) if parts else None
    if train is not None and options.val_size:
        size = options.val_size if options.val_size < 1 else int(options.val_size)
        if size >= len(train):
            raise DataError(f"val_size {size} leaves nothing of {len(train)} rows to train on", where="val_size")
        halves = train.train_test_split(test_size=size, seed=seed)
        train, prepared.evaluation = halves["train"], halves["test"]
    prepared.train = train
    if eval_specs:
        sets = {s.name: _one_set(s, options, encoder_for(False), prepared.report, row_kind) for s in eval_specs}
        prepared.evaluation = sets if options.eval_on_each_dataset else _concat(list(sets.values()))
    if options.tokenized_path:
        keep(prepared, options.tokenized_path)
    return _packed(prepared, options, row_kind)


def check_kind(spec: DatasetSpec, row_kind: str) -> None:
    ranking_wanted = row_kind == "preference"
    if spec.ranking and not ranking_wanted:
        raise DataError(
            f"data set {spec.name!r} holds preferences and this stage eats {row_kind} rows", where=spec.origin,
            fix="use it in a preference stage (dpo, rm), or choose another data set",
        )  # fmt: skip
    if ranking_wanted and not spec.ranking:
        raise DataError(
            f"data set {spec.name!r} holds no preferences and this stage needs chosen and rejected answers",
            where=spec.origin, fix='set "ranking": true in its entry if it has them',
        )  # fmt: skip
    if row_kind not in spec.format.makes:
        raise DataError(
            f"data set {spec.name!r} has format {spec.format.name}, which makes {', '.join(spec.format.makes)} rows; "
            f"this stage eats {row_kind} rows", where=spec.origin,
        )  # fmt: skip


def raw_rows(spec: DatasetSpec, limit: int | None = None) -> Iterator[RawRow]:
    """Rows of a data set as they are stored, at most `limit`."""
    if spec.path is not None:
        rows: Iterator[RawRow] = read_rows(spec.path)
    elif spec.source is not None:
        rows = spec.source()
    else:
        from plugtune.data.hub_rows import hub_rows

        rows = hub_rows(spec)
    if spec.mapping is not None:
        rows = spec.mapping.joined(rows)
    bounds = [n for n in (limit, spec.num_samples) if n]
    return islice(rows, min(bounds)) if bounds else rows


def converter(spec: DatasetSpec, row_kind: str) -> Callable[[Any], Record]:
    """The format's converter under the data set's column and tag names, behind the data set's mapping.

    What it gives is checked, and an error of the format's own is told as one, with its name.
    """
    convert = load_ref(spec.format.convert)(spec.columns, spec.tags, kind=row_kind)
    expected, mapping = RECORDS[row_kind], spec.mapping
    paths = [name for name in spec.columns.values() if name and is_path(name)]

    def checked(row: Any) -> Record:
        try:
            if mapping is not None:
                row = mapping(row)
            if paths:
                row = {**{path: value for path in paths if (value := value_at(row, path)) is not MISSING}, **row}
            record: Record = convert(row)
        except (RowError, RowLeftOut):
            raise
        except Exception as error:
            raise RowError(
                f"format {spec.format.name} failed on it: {type(error).__name__}: {error}",
                fix="mend the row, or the plugin of the format, which should say what is wrong with it",
            ) from error
        if not isinstance(record, expected):
            raise RowError(f"format {spec.format.name} made {type(record).__name__} of it instead of a {row_kind}")
        check_record(record)
        return record

    return checked


def _one_set(spec: DatasetSpec, options: DataOptions, encoder: Encoder, report: DataReport, row_kind: str) -> Any:
    from datasets import Dataset

    folder = cache_folder() / key_of(spec, options, encoder, row_kind)
    if options.overwrite_cache:
        forget(folder)
    entry = stored(folder)
    if entry is None:
        entry = _prepare_set(spec, options, encoder, row_kind, folder)
        report.sets.append(entry)
    else:
        report.sets.append({**entry, "name": spec.name, "cached": True})
    return _concat([Dataset.from_file(str(file)) for file in shard_files(folder)])


def _prepare_set(
    spec: DatasetSpec, options: DataOptions, encoder: Encoder, row_kind: str, folder: Path
) -> dict[str, Any]:
    """Prepare the rows of a data set into the cache, behind what an earlier try has left; the report of them."""
    with staged(folder) as staging:
        if (entry := stored(folder)) is not None:  # another process was faster
            return entry
        count, done = SetReport(spec.name), shard_files(staging)
        for file in done:
            count.add(counted(file, spec.name))
        batches = batches_of(
            islice(raw_rows(spec, options.max_samples), count.read, None),
            Work(spec.name, converter(spec, row_kind), encoder, spec.filters),
            options.preprocessing_batch_size, options.preprocessing_num_workers,
        )  # fmt: skip
        for part in write_shards(staging, batches, arrow_schema(encoder.columns), len(done)):
            count.add(part)
        if count.bad_count > options.max_bad_rows or not count.rows_out:
            shutil.rmtree(staging)  # these rows are refused: nothing of them is worth going on with
        count.check(options.max_bad_rows)
        entry = {**count.as_json(), "shards": len(shard_files(staging))}
        (staging / REPORT).write_text(json.dumps(entry, ensure_ascii=False), encoding="utf-8")
    return entry


def _concat(parts: list[Any]) -> Any:
    from datasets import concatenate_datasets

    return parts[0] if len(parts) == 1 else concatenate_datasets(parts)


def _mix(parts: list[Any], options: DataOptions, seed: int) -> Any:
    if len(parts) == 1 or options.mix_strategy == "concat":
        return _concat(parts)
    from datasets import interleave_datasets

    stopping = {"interleave_under": "first_exhausted", "interleave_over": "all_exhausted"}
    return interleave_datasets(
        parts,
        probabilities=options.interleave_probs or None,
        seed=seed,
        stopping_strategy=stopping.get(options.mix_strategy, "all_exhausted_without_replacement"),
    )


def _packed(prepared: Prepared, options: DataOptions, row_kind: str) -> Prepared:
    """Training rows in packs when that was asked for; documents are joined by their encoder."""
    if prepared.train is not None and options.packing and row_kind == "conversation":
        prepared.train = PackedRows(prepared.train, room_of(options))
    return prepared


def _stream(
    train_specs: list[DatasetSpec], eval_specs: list[DatasetSpec], options: DataOptions,
    encoder_for: Callable[[bool], Encoder], seed: int, row_kind: str,
) -> Prepared:  # fmt: skip
    from datasets import IterableDataset, interleave_datasets

    def rows_of(spec: DatasetSpec, encoder: Encoder) -> Iterator[dict[str, list[int]]]:
        count = SetReport(spec.name)
        work = Work(spec.name, converter(spec, row_kind), encoder, spec.filters)
        rows = raw_rows(spec)
        while batch := list(islice(rows, options.preprocessing_batch_size)):
            for raw, outcome in zip(batch, work.outcomes(batch, count), strict=True):
                kept = tally(raw, outcome, count)
                if count.bad_count > options.max_bad_rows:
                    count.check(options.max_bad_rows)
                yield from (dict(row.columns) for row in kept)

    def stream(specs: list[DatasetSpec], training: bool) -> Any:
        encoder = encoder_for(training)
        parts = [IterableDataset.from_generator(rows_of, gen_kwargs={"spec": s, "encoder": encoder}) for s in specs]
        if len(parts) == 1:
            return parts[0]
        if options.mix_strategy == "concat":
            from datasets import concatenate_datasets

            return concatenate_datasets(parts)
        return interleave_datasets(parts, probabilities=options.interleave_probs or None, seed=seed)

    prepared = Prepared()
    if train_specs:
        train = stream(train_specs, True)
        if options.val_size:
            prepared.evaluation = train.take(int(options.val_size))
            train = train.skip(int(options.val_size))
        if options.packing and row_kind == "conversation":
            train = train.map(
                pack_columns, batched=True, batch_size=options.preprocessing_batch_size,
                fn_kwargs={"room": room_of(options)}, remove_columns=["input_ids", "labels"],
            )  # fmt: skip
        prepared.train = train.shuffle(seed=seed, buffer_size=options.buffer_size)
    if eval_specs:
        prepared.evaluation = stream(eval_specs, False)
    return prepared

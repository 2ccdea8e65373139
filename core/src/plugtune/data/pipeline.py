"""From data set names to token rows: read, convert, encode, count, cache, mix, split.

The rows of each data set are prepared once and kept in a content-addressed cache as Arrow; the same file, mapping,
template and options are never tokenized twice. Knows no format, template or stage by name.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from plugtune.capabilities import load_ref
from plugtune.catalog import Catalog
from plugtune.data.encoding import Dropped, EncodedRow, Encoder
from plugtune.data.packing import pack_columns
from plugtune.data.records import RawRow, Record, RowError
from plugtune.data.registry import DatasetSpec, Registry
from plugtune.data.report import DataReport, SetReport
from plugtune.data.sources import files_of, read_rows
from plugtune.errors import DataError
from plugtune.options.groups import DataOptions

PARALLEL_FROM = 4000
"""Rows from which worker processes pay for themselves."""


@dataclass(slots=True)
class Prepared:
    """Token rows for training and evaluation (`datasets.Dataset` or `IterableDataset`), and the report."""

    train: Any = None
    evaluation: Any = None
    report: DataReport = field(default_factory=DataReport)


@dataclass(frozen=True, slots=True)
class _Work:
    """What a worker needs to turn raw rows into outcomes."""

    convert: Callable[[Any], Record]
    encoder: Encoder
    kind: type

    def __call__(self, rows: Sequence[RawRow]) -> list[Any]:
        outcomes: list[Any] = []
        records: list[Record] = []
        for row in rows:
            try:
                record = self.convert(row.values)
            except RowError as error:
                outcomes.append(error)
                continue
            outcomes.append(None)
            records.append(record)
        encoded = iter(self.encoder.encode(records) if records else [])
        return [next(encoded) if outcome is None else outcome for outcome in outcomes]


def prepare(
    options: DataOptions,
    catalog: Catalog,
    *,
    row_kind: str,
    encoder_for: Callable[[bool], Encoder],
    seed: int,
    need_train: bool = True,
    need_eval: bool = False,
) -> Prepared:
    """Token rows for a run.

    Raises:
        DataError: a data set is missing, broken, of the wrong kind, or has more bad rows than allowed.
    """
    if options.tokenized_path and (Path(options.tokenized_path) / "plugtune.json").is_file():
        return _load_tokenized(Path(options.tokenized_path))
    registry = Registry.open(
        catalog, options.dataset_dir, options.dataset_info, allow_scripts=options.allow_dataset_scripts
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
    if train is not None and options.packing and row_kind != "document":
        train = _packed(train, options.cutoff_len)
    prepared.train = train
    if eval_specs:
        sets = {s.name: _one_set(s, options, encoder_for(False), prepared.report, row_kind) for s in eval_specs}
        prepared.evaluation = sets if options.eval_on_each_dataset else _concat(list(sets.values()))
    if options.tokenized_path:
        _save_tokenized(prepared, Path(options.tokenized_path))
    return prepared


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
    else:
        from plugtune.data.hub_rows import hub_rows

        rows = hub_rows(spec)
    bounds = [n for n in (limit, spec.num_samples) if n]
    return islice(rows, min(bounds)) if bounds else rows


def converter(spec: DatasetSpec, row_kind: str) -> Callable[[Any], Record]:
    """The format's converter under the data set's column and tag names."""
    return load_ref(spec.format.convert)(spec.columns, spec.tags, kind=row_kind)


def _one_set(spec: DatasetSpec, options: DataOptions, encoder: Encoder, report: DataReport, row_kind: str) -> Any:
    from datasets import Dataset

    folder = cache_folder() / _key(spec, options, encoder, row_kind)
    if options.overwrite_cache and folder.exists():
        shutil.rmtree(folder)
    if (folder / "report.json").is_file():
        entry = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        report.sets.append({**entry, "name": spec.name, "cached": True})
        return Dataset.from_file(str(folder / "rows.arrow"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        count = SetReport(spec.name)
        work = _Work(converter(spec, row_kind), encoder, object)
        _write_arrow(staging / "rows.arrow", encoder.columns, _outcomes(spec, options, work), count)
        count.check(options.max_bad_rows)
        entry = count.as_json()
        (staging / "report.json").write_text(json.dumps(entry, ensure_ascii=False), encoding="utf-8")
        try:
            staging.rename(folder)
        except OSError:  # another process was faster; its rows are the same
            shutil.rmtree(staging, ignore_errors=True)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    report.sets.append(entry)
    return Dataset.from_file(str(folder / "rows.arrow"))


def _outcomes(spec: DatasetSpec, options: DataOptions, work: _Work) -> Iterator[tuple[RawRow, Any]]:
    rows = raw_rows(spec, options.max_samples)
    first = list(islice(rows, PARALLEL_FROM))
    workers = options.preprocessing_num_workers or (min(os.cpu_count() or 1, 16) if len(first) == PARALLEL_FROM else 1)

    def batches() -> Iterator[list[RawRow]]:
        size = options.preprocessing_batch_size
        for start in range(0, len(first), size):
            # A batch that the head of the file does not fill goes on with the rest of it.
            head = first[start : start + size]
            yield head + list(islice(rows, size - len(head)))
        while batch := list(islice(rows, size)):
            yield batch

    if workers <= 1:
        for batch in batches():
            yield from zip(batch, work(batch), strict=True)
        return
    yield from _in_processes(work, batches(), workers)


_work_of_process: Callable[[Any], Any] | None = None


def _call(batch: list[RawRow]) -> tuple[list[RawRow], list[Any]]:
    assert _work_of_process is not None
    return batch, _work_of_process(batch)


def _start_worker(work: _Work) -> None:
    global _work_of_process
    # Each process has a core to itself: the tokenizer's own threads would only fight over them.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _work_of_process = work


def _in_processes(work: _Work, batches: Iterator[list[RawRow]], workers: int) -> Iterator[tuple[RawRow, Any]]:
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    with context.Pool(workers, _start_worker, (work,)) as pool:
        for batch, outcomes in pool.imap(_call, batches):
            yield from zip(batch, outcomes, strict=True)


def _write_arrow(path: Path, columns: Sequence[str], outcomes: Iterator[tuple[RawRow, Any]], count: SetReport) -> None:
    import pyarrow as pa

    schema = pa.schema([(name, pa.list_(pa.int32())) for name in columns])
    pending: list[EncodedRow] = []
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:

        def flush() -> None:
            if pending:
                arrays = [pa.array([row.columns[name] for row in pending], pa.list_(pa.int32())) for name in columns]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
                pending.clear()

        for raw, outcome in outcomes:
            pending += tally(raw, outcome, count)
            if len(pending) >= 1000:
                flush()
        flush()


def tally(raw: RawRow, outcome: Any, count: SetReport) -> list[EncodedRow]:
    """Count what became of a row; the token rows to keep."""
    count.read += 1
    if isinstance(outcome, RowError):
        count.refuse(raw.where, outcome)
        return []
    if isinstance(outcome, Dropped):
        count.drop(raw.where.row, outcome.reason)
        return []
    sizes = []
    for row in outcome:
        columns = list(row.columns.values())
        labels = row.columns.get("labels", columns[-1])
        sizes.append((len(columns[0]), len(labels) - labels.count(-100)))
    count.keep(raw.where.row, sum(row.cut_tokens for row in outcome), sizes)
    return outcome


def cache_folder() -> Path:
    """Where prepared rows are kept."""
    base = os.environ.get("PLUGTUNE_CACHE_DIR")
    if base:
        return Path(base) / "data"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plugtune" / "data"


def _key(spec: DatasetSpec, options: DataOptions, encoder: Encoder, row_kind: str) -> str:
    digest = hashlib.sha256()
    files = files_of(spec.path) if spec.path is not None else []
    for file in files:
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    parts = [
        1, row_kind, encoder.fingerprint, spec.format.name, spec.format.convert, sorted(spec.columns.items()),
        sorted(spec.tags.items()), spec.hub, spec.hub_id, spec.subset, spec.folder, spec.split, spec.num_samples,
        options.max_samples, options.max_bad_rows, options.preprocessing_batch_size,
        [file.name for file in files],
    ]  # fmt: skip
    digest.update(json.dumps(parts, default=str).encode())
    return digest.hexdigest()[:40]


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


def _packed(rows: Any, room: int) -> Any:
    from datasets import Dataset

    return Dataset.from_list(pack_columns(rows.to_list(), room))


def _stream(
    train_specs: list[DatasetSpec], eval_specs: list[DatasetSpec], options: DataOptions,
    encoder_for: Callable[[bool], Encoder], seed: int, row_kind: str,
) -> Prepared:  # fmt: skip
    from datasets import IterableDataset, interleave_datasets

    def rows_of(spec: DatasetSpec, encoder: Encoder) -> Iterator[dict[str, list[int]]]:
        count = SetReport(spec.name)
        work = _Work(converter(spec, row_kind), encoder, object)
        rows = raw_rows(spec)
        while batch := list(islice(rows, options.preprocessing_batch_size)):
            for raw, outcome in zip(batch, work(batch), strict=True):
                kept = tally(raw, outcome, count)
                if count.bad_count > options.max_bad_rows:
                    count.check(options.max_bad_rows)
                count.lengths.clear()  # a stream may be endless
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
        prepared.train = train.shuffle(seed=seed, buffer_size=options.buffer_size)
    if eval_specs:
        prepared.evaluation = stream(eval_specs, False)
    return prepared


def _save_tokenized(prepared: Prepared, path: Path) -> None:
    from datasets import Dataset, DatasetDict

    parts = {"train": prepared.train} if prepared.train is not None else {}
    if isinstance(prepared.evaluation, Dataset):
        parts["validation"] = prepared.evaluation
    elif prepared.evaluation:
        parts.update({f"validation_{name}": rows for name, rows in prepared.evaluation.items()})
    DatasetDict(parts).save_to_disk(str(path))
    (path / "plugtune.json").write_text(json.dumps(prepared.report.as_json(), ensure_ascii=False), encoding="utf-8")


def _load_tokenized(path: Path) -> Prepared:
    from datasets import load_from_disk

    parts = load_from_disk(str(path))
    sets = json.loads((path / "plugtune.json").read_text(encoding="utf-8"))["sets"]
    several = {n.removeprefix("validation_"): rows for n, rows in parts.items() if n.startswith("validation_")}
    report = DataReport([{**entry, "cached": True} for entry in sets])
    return Prepared(parts.get("train"), several or parts.get("validation"), report)

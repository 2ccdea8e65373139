"""Tells mistakes in names and small files before anything slow is imported.

Names of all data sets are resolved; files of up to a few megabytes are also read and converted once, which takes
milliseconds and spares the user the seconds that loading a tokenizer takes. Larger files are judged as they are
prepared.
"""

from __future__ import annotations

from plugtune.catalog import Catalog
from plugtune.data.pipeline import check_kind, converter, raw_rows
from plugtune.data.records import RowError, RowLeftOut
from plugtune.data.registry import DatasetSpec, Registry
from plugtune.data.report import SetReport
from plugtune.data.sources import files_of
from plugtune.options.groups import DataOptions

SMALL = 4 << 20


def precheck(options: DataOptions, catalog: Catalog, row_kind: str, hub: str | None = None) -> None:
    """Resolve all data sets and judge the rows of small ones.

    Raises:
        DataError: a name, an entry, a file or more rows than allowed are wrong.
    """
    registry = Registry.open(
        catalog, options.dataset_dir, options.dataset_info, allow_scripts=options.allow_dataset_scripts, hub=hub
    )
    for spec in [registry.resolve(name) for name in (*options.dataset, *options.eval_dataset)]:
        check_kind(spec, row_kind)
        if spec.path is not None and sum(file.stat().st_size for file in files_of(spec.path)) <= SMALL:
            _judge(spec, options, row_kind)


def _judge(spec: DatasetSpec, options: DataOptions, row_kind: str) -> None:
    convert, count = converter(spec, row_kind), SetReport(spec.name)
    for raw in raw_rows(spec, options.max_samples):
        count.read += 1
        try:
            convert(raw.values)
        except RowError as error:
            count.refuse(raw.where, error)
        except RowLeftOut as left:
            count.drop(raw.where.row, left.reason)
    count.rows_out = count.read - count.bad_count or 1
    count.check(options.max_bad_rows)

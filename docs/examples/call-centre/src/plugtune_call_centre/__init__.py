"""A call centre's records: format, data bases, masking of personal data. Imports nothing heavy."""

from __future__ import annotations

import plugtune


@plugtune.hookimpl
def plugtune_formats() -> list[plugtune.DatasetFormat]:
    """The format `call-centre`."""
    return [
        plugtune.DatasetFormat(
            name="call-centre",
            summary="One call a row: question, answer, agent's briefing, outcome",
            columns={"question": "caller_text", "answer": "agent_text", "briefing": "briefing", "private": "private"},
            convert="plugtune_call_centre.rows:make_converter",
            recognise="plugtune_call_centre.rows:recognise",
        )
    ]


@plugtune.hookimpl
def plugtune_sources() -> list[plugtune.DataSource]:
    """The source `sql`."""
    return [
        plugtune.DataSource(
            name="sql",
            summary="Rows of a table or a query, through SQLAlchemy",
            schemes=("sqlite", "postgresql"),
            rows="plugtune_call_centre.sql:rows",
        )
    ]


@plugtune.hookimpl
def plugtune_filter_record(record: plugtune.Record, where: plugtune.Where) -> plugtune.Record | None:
    """Mask personal data in every conversation, whatever its format; the heavy part is imported with the first row."""
    from plugtune_call_centre.masking import masked

    return masked(record, where)

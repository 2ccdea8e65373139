"""Streams rows out of data bases. Nothing but the rows under way is in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plugtune import RequestError


def rows(address: str, options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Rows of `table` or `query`, in the order of `order_by` (a table's primary key when left out).

    Raises:
        RequestError: the data base cannot be reached, or has no such table, column or query.
    """
    from sqlalchemy import MetaData, Table, create_engine, select, text
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    known = {"table", "query", "order_by"}
    if unknown := sorted(set(options) - known):
        raise RequestError(f"unknown source_options {', '.join(unknown)}", fix=f"known: {', '.join(sorted(known))}")
    if ("table" in options) == ("query" in options):
        raise RequestError("source_options needs a table or a query", fix='for example {"table": "calls"}')
    url = make_url(address)
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).is_file():
        raise RequestError(f"data base {shown} does not exist")  # SQLite would make an empty one
    order = options.get("order_by")
    try:
        engine = create_engine(url)
        with engine.connect().execution_options(stream_results=True, yield_per=1000) as connection:
            if "query" in options:
                statement: Any = text(f"{options['query']}" + (f" ORDER BY {order}" if order else ""))
            else:
                table = Table(options["table"], MetaData(), autoload_with=connection)
                keys = [table.c[order]] if order else list(table.primary_key)
                statement = select(table).order_by(*keys)
            for row in connection.execute(statement).mappings():
                yield dict(row)
    except (SQLAlchemyError, KeyError) as error:
        why = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise RequestError(f"rows of {shown} cannot be read", why=f"{type(error).__name__}: {why}") from error

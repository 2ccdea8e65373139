"""Plugins that look at every record on its way to the tokens: they may change it, leave it out, or refuse it.

Knows the hook `plugtune_filter_record` and in which order plugins are asked; what became of a row is counted with the
plugin's name, and the plugins' code is part of the cache's key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from plugtune.data.encoding import Dropped
from plugtune.data.records import RECORDS, RawRow, Record, RowError, RowLeftOut, Where
from plugtune.data.report import SetReport


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """One plugin's implementation of the hook."""

    plugin: str
    call: Callable[..., Any]
    arguments: tuple[str, ...]
    code: str

    def __call__(self, record: Record, where: Where) -> Record:
        """The record as the plugin leaves it.

        Raises:
            RowLeftOut: the plugin leaves it out; the reason begins with the plugin's name.
            RowError: the plugin refuses it, or failed on it.
        """
        given = {"record": record, "where": where}
        try:
            answer = self.call(*(given[name] for name in self.arguments))
        except RowLeftOut as left:
            raise RowLeftOut(f"plugin {self.plugin}: {left.reason}") from None
        except RowError:
            raise
        except Exception as error:
            raise RowError(
                f"plugin {self.plugin} failed on it: {type(error).__name__}: {error}",
                fix="mend the plugin's plugtune_filter_record, or deny the plugin (PLUGTUNE_PLUGINS_DENY)",
            ) from error
        if isinstance(answer, Dropped):
            raise RowLeftOut(f"plugin {self.plugin}: {answer.reason}")
        if answer is None:
            return record
        if type(answer) is not type(record) or type(answer) not in RECORDS.values():
            kind = type(record).__name__
            raise RowError(f"plugin {self.plugin} made {type(answer).__name__} of it and must give {kind} or None")
        return answer


def record_filters(host: Any) -> tuple[RecordFilter, ...]:
    """The filters of a host's plugins: `tryfirst` ones, then by plugin name, `trylast` ones at the end."""
    hashes = {plugin.name: plugin.hash for plugin in host.plugins}
    for keyed in host.hook.plugtune_filter_key.get_hookimpls():
        hashes[keyed.plugin_name] = f"{hashes.get(keyed.plugin_name, '')} {keyed.function()}"
    found = host.hook.plugtune_filter_record.get_hookimpls()
    ordered = sorted(found, key=lambda i: (not i.tryfirst, i.trylast, i.plugin_name))
    return tuple(
        RecordFilter(i.plugin_name, i.function, tuple(i.argnames), hashes.get(i.plugin_name, "")) for i in ordered
    )


def filtered(
    filters: Sequence[RecordFilter], convert: Callable[[Any], Record], count: SetReport | None = None
) -> Callable[[RawRow], Record]:
    """Raw row → record as a run would see it; changes are counted when there is a count.

    The function raises `RowError` and `RowLeftOut` like a converter.
    """

    def read(raw: RawRow) -> Record:
        record = convert(raw.values)
        for step in filters:
            left = step(record, raw.where)
            if left is not record and count is not None:
                count.change(raw.where.row, f"plugin {step.plugin}")
            record = left
        return record

    return read

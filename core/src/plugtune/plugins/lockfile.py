"""Which plugins are installed, exactly: written to a lock file, compared with it, and kept with every run.

A plugin is known by its name, distribution, version and the hash of its files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from plugtune.errors import RequestError
from plugtune.plugins.files import tree_hash

FORMAT = 1
FILE = "plugtune.lock"
RUN_FILE = "plugins.json"
"""The record of a run's plugins in its folder."""
FIELDS = ("name", "distribution", "version", "hash")


def installed(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What a lock file holds of the index's rows; hashes are taken of the files as they are now."""
    return [
        {
            "name": row["name"],
            "distribution": row["distribution"],
            "version": row["version"],
            "hash": tree_hash(row["root"]),
        }
        for row in rows
        if row["status"] == "ok"
    ]


def text_of(plugins: Sequence[Mapping[str, Any]], core: str) -> str:
    """A lock file: JSON with a plugin a line."""
    lines = ",\n".join(f"  {json.dumps(dict(plugin), ensure_ascii=False)}" for plugin in plugins)
    return f'{{\n "format": {FORMAT},\n "plugtune": {json.dumps(core)},\n "plugins": [\n{lines}\n ]\n}}\n'


def read(path: Path) -> tuple[str, list[dict[str, Any]]]:
    """The version of core and the plugins of a lock file.

    Raises:
        RequestError: it is missing, or no lock file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT or not all(set(FIELDS) <= set(p) for p in values["plugins"]):
            raise ValueError("it has another form")
        return str(values["plugtune"]), list(values["plugins"])
    except FileNotFoundError:
        raise RequestError(f"lock file {path} does not exist", fix="write one: plugtune plugins lock") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{path} is no lock file of plugins", why=str(error)) from error


def differences(
    then: Iterable[Mapping[str, Any]], now: Iterable[Mapping[str, Any]], *, others: bool = True
) -> list[str]:
    """What changed, a sentence for each plugin.

    Args:
        others: whether plugins that are only there now count.
    """
    before = {plugin["name"]: plugin for plugin in then}
    after = {plugin["name"]: plugin for plugin in now}
    found = []
    for name, plugin in before.items():
        other = after.get(name)
        if other is None:
            found.append(f"plugin {name} {plugin['version']} is not there now")
        elif (plugin["distribution"], plugin["version"]) != (other["distribution"], other["version"]):
            pair = [f"{p['distribution']} {p['version']}" for p in (plugin, other)]
            found.append(f"plugin {name} was {pair[0]} and is {pair[1]}")
        elif plugin["hash"] != other["hash"]:
            hashes = f"{plugin['hash'][:8]} then, {other['hash'][:8]} now"
            found.append(f"plugin {name} {plugin['version']} has other files now ({hashes})")
    new = [f"plugin {name} {after[name]['version']} was not there then" for name in after if name not in before]
    return found + (new if others else [])

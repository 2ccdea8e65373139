"""The checks that a whole request passes before anything is written or started. `confine` judges the single values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugtune.errors import PlugtuneError, Problem, RequestError
from plugtune.options.reader import Given, Request
from plugtune.plugins.host import PluginHost

from plugtune_app_board.boxes import names_of
from plugtune_app_board.confine import check_options, check_text
from plugtune_app_board.settings import Settings


def request(options: Mapping[str, Any]) -> Request:
    """The options as the command line's own reader would hand them on."""
    return Request({name: Given(value, f"board {name}") for name, value in options.items()})


def check(host: PluginHost, settings: Settings, options: Mapping[str, Any], problems: list[Problem]) -> None:
    """Confine the options, old names included.

    Raises:
        RequestError: `problems`, which were found before, and everything that is wrong besides.
    """
    from plugtune.options.resolve import expand_aliases

    expanded, _, _ = expand_aliases(request(options))
    plain = {name: given.value for name, given in expanded.items()}
    problems += check_options({**options, **plain}, settings.roots, allow_code=settings.allow_code)
    try:
        _data_inside(host, settings, plain)
    except PlugtuneError as error:
        problems += error.problems
    if problems:
        raise RequestError.of(problems)


def _data_inside(host: PluginHost, settings: Settings, options: Mapping[str, Any]) -> None:
    """Entries of a registry name files too: they must not lead out."""
    from plugtune.data.registry import Registry

    names = [*names_of(options.get("dataset")), *names_of(options.get("eval_dataset"))]
    folder = str(settings.roots.inside(str(options.get("dataset_dir") or "data"), "dataset_dir"))
    registry = Registry.open(host.catalog, folder)
    for name in names:
        if name in registry.entries:
            info, root, _ = registry.entries[name]
            file = info.get("file_name") if isinstance(info, dict) else None
            if file:
                settings.roots.inside(Path(root) / str(file), f"dataset {name}")
        else:
            check_text(name, settings.roots, where=f"dataset {name}")


def plan(host: PluginHost, options: Mapping[str, Any]) -> None:
    """The checks of the command itself, which need no library and no weights.

    Raises:
        PlugtuneError: the command would refuse these options.
    """
    from plugtune.training.planner import make_plan

    make_plan(request(options), host)

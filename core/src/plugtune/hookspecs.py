"""The whole contract between core and plugins, on one page.

A plugin is a module (entry point in group `plugtune`) whose functions are marked with `plugtune.hookimpl`.

Collecting hooks take no arguments and return a list of capabilities. They are called at discovery, must be cheap and
pure (no torch, transformers, datasets, peft, trl, pandas; no network; no reading of the environment), and every
plugin's answer counts: a name that two plugins give for the same kind is an error that names both.

Run-time hooks are called during a command. They may be ordered (`tryfirst`, `trylast`) and wrapped
(`wrapper=True`); unless a hook says otherwise all implementations run and their answers are joined.

Arguments are only ever added, never renamed or removed, within one API version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

from plugtune import capabilities as c

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugtune.data.records import Record, Where
    from plugtune.modeling.request import ModelRequest
    from plugtune.training.plan import Plan
    from plugtune.training.report import RunReport

API_VERSION = (1, 1)
"""Plugin API of this core: a plugin written for (1, x) with x <= 1 loads. `docs/plugin-api.md` says what changed."""

hookspec = pluggy.HookspecMarker("plugtune")


# Collecting hooks ---------------------------------------------------------------------------------------------------


@hookspec
def plugtune_families() -> list[c.ModelFamily]:  # type: ignore[empty-body]
    """Model adapters."""


@hookspec
def plugtune_templates() -> list[c.ChatTemplate]:  # type: ignore[empty-body]
    """Chat templates; `plugtune.templating.load.load_templates(folder)` reads a folder of YAML files."""


@hookspec
def plugtune_formats() -> list[c.DatasetFormat]:  # type: ignore[empty-body]
    """Dataset formatters."""


@hookspec
def plugtune_stages() -> list[c.Stage]:  # type: ignore[empty-body]
    """Training stages."""


@hookspec
def plugtune_methods() -> list[c.TuningMethod]:  # type: ignore[empty-body]
    """Tuning methods."""


@hookspec
def plugtune_optimizers() -> list[c.Optimizer]:  # type: ignore[empty-body]
    """Optimizers beyond those that transformers names; each is turned on by an option of its own."""


@hookspec
def plugtune_launchers() -> list[c.Launcher]:  # type: ignore[empty-body]
    """What starts a run's processes besides core's own torchrun. Since API 1.1."""


@hookspec
def plugtune_exporters() -> list[c.Exporter]:  # type: ignore[empty-body]
    """Exporters."""


@hookspec
def plugtune_hubs() -> list[c.Hub]:  # type: ignore[empty-body]
    """Hubs that models and data sets come from."""


@hookspec
def plugtune_datasets() -> list[c.DatasetEntry]:  # type: ignore[empty-body]
    """Named data sets, as entries of dataset_info.json would name them."""


@hookspec
def plugtune_sources() -> list[c.DataSource]:  # type: ignore[empty-body]
    """Sources of rows beyond files. Since API 1.1."""


@hookspec
def plugtune_commands() -> list[c.Command]:  # type: ignore[empty-body]
    """Commands added to the program."""


# Run-time hooks -----------------------------------------------------------------------------------------------------


@hookspec
def plugtune_configure_run(plan: Plan) -> None:
    """A run was resolved and nothing is loaded yet; raise `plugtune.RequestError` to refuse it."""


@hookspec(firstresult=True)
def plugtune_load_model(request: ModelRequest) -> Any:
    """Load the model of `request` in a way of the plugin's own; the first answer that is not `None` wins."""


@hookspec
def plugtune_model_loaded(model: Any, plan: Plan) -> None:
    """The model is loaded and prepared by its method; it may be looked at, or changed in place."""


@hookspec
def plugtune_callbacks(plan: Plan) -> list[Any]:  # type: ignore[empty-body]
    """`transformers.TrainerCallback` objects for the run; all answers are joined."""


@hookspec
def plugtune_run_finished(report: RunReport) -> None:
    """The run ended well and its files are written."""


@hookspec
def plugtune_filter_record(record: Record, where: Where) -> Record | None:
    """Look at a record between its format and its template. Since API 1.1.

    Return a record of the same kind to take its place, or `None` to leave it as it is; raise `plugtune.RowLeftOut` to
    leave it out, `plugtune.RowError` to refuse it. Plugins are asked one after another (`tryfirst`, by name,
    `trylast`), each with what the one before left. Runs in worker processes; the plugin's code, and what its
    `plugtune_filter_key` says, are part of the cache's key.
    """


@hookspec
def plugtune_filter_key() -> str:  # type: ignore[empty-body]
    """What a plugin's filter depends on besides its code (a word list, a setting), as text. Since API 1.1."""


@hookspec(firstresult=True)
def plugtune_secret(name: str) -> str | None:
    """The secret that `${secret:NAME}` stands for; the first answer that is not `None` wins. Since API 1.1.

    Called when the secret is used. It is written into no plan, report or cache.
    """


@hookspec
def plugtune_log(entry: Mapping[str, Any], plan: Plan) -> None:
    """A logging step on the first process: `current_steps` and what the trainer logged. Since API 1.1."""


@hookspec
def plugtune_metrics(predictions: Sequence[Mapping[str, str]], plan: Plan) -> dict[str, float]:  # type: ignore[empty-body]
    """Further scores of generated answers (`prompt`, `predict`, `label` each). Since API 1.1.

    All answers are joined; two plugins that give the same name are an error.
    """


DEPRECATED: dict[str, str] = {}
"""Hook that will go → what to use instead. Plugins that implement it are noted with their names."""

COLLECTING_HOOKS: dict[str, str] = {
    "plugtune_families": "family",
    "plugtune_templates": "template",
    "plugtune_formats": "format",
    "plugtune_stages": "stage",
    "plugtune_methods": "method",
    "plugtune_optimizers": "optimizer",
    "plugtune_launchers": "launcher",
    "plugtune_exporters": "exporter",
    "plugtune_hubs": "hub",
    "plugtune_datasets": "dataset",
    "plugtune_sources": "source",
    "plugtune_commands": "command",
}
"""Collecting hook → the kind of capability it returns."""

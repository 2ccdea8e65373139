"""Before and after: refuse long runs (`EXAMPLE_MOST_STEPS`), note those that ended (`EXAMPLE_BOOK`)."""

from __future__ import annotations

import os
from typing import Any

import plugtune


@plugtune.hookimpl
def plugtune_configure_run(plan: Any) -> None:
    """Called when everything is resolved and nothing is loaded."""
    most = os.environ.get("EXAMPLE_MOST_STEPS")
    steps = plan.trainer.get("max_steps")
    if most and (not steps or steps > int(most)):
        raise plugtune.RequestError(
            f"runs here have at most {most} steps", where="max_steps", fix=f"--max_steps {most}"
        )


@plugtune.hookimpl
def plugtune_run_finished(report: Any) -> None:
    """Called when the run's files are written."""
    path = os.environ.get("EXAMPLE_BOOK")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{report.output_dir} {report.plan.stage.name}\n")

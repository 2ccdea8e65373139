"""Finds the tasks that are named, in a folder of the user's own and in the harness. Loads no data and no model."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from plugtune import RequestError
from plugtune.errors import did_you_mean

from plugtune_eval_lm_eval.options import HarnessOptions


def find_tasks(options: HarnessOptions) -> Any:
    """The harness's task manager that knows every task that was named.

    The harness's own thousands of tasks are looked through only when the folder does not have them all.

    Raises:
        RequestError: the folder is not there or holds code, the harness is missing, or nothing is called so.
    """
    folder = _folder(options)
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise RequestError("lm-eval cannot be imported", where="lm-eval", why=str(error),
                           fix="pip install 'lm-eval>=0.4.9,<0.5'") from error  # fmt: skip
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    names: list[str] = []
    for defaults in (False, True):
        if folder is None and not defaults:
            continue
        manager = TaskManager(include_path=folder, include_defaults=defaults)
        names = sorted(manager.all_tasks)
        if all(manager.match_tasks([task]) for task in options.tasks):
            return manager
    missing = [task for task in options.tasks if not manager.match_tasks([task])]
    raise RequestError(
        f"no task is called {', '.join(missing)}", where="tasks",
        fix=did_you_mean(missing[0], names) or "give --include_path FOLDER with its YAML file, or see lm-eval ls tasks",
    )  # fmt: skip


def _folder(options: HarnessOptions) -> str | None:
    """The user's folder of tasks, with no code in it unless that is allowed."""
    if options.include_path is None:
        return None
    root = Path(options.include_path)
    if not root.is_dir():
        raise RequestError(f"there is no folder {root}", where="include_path")
    if not options.allow_task_code:
        files = [*root.rglob("*.yaml"), *root.rglob("*.yml")]
        coded = next((f for f in sorted(files) if "!function" in f.read_text(encoding="utf-8", errors="replace")), None)
        if coded is not None:
            raise RequestError(
                f"task file {coded} runs Python code of its own (!function)", where="include_path",
                fix="read that code, then add --allow_task_code true",
            )  # fmt: skip
    return str(root)

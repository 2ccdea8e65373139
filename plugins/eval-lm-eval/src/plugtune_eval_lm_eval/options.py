"""What the harness is asked for. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

import plugtune


@dataclass(slots=True)
class HarnessOptions:
    """Tasks and how they are asked, by the harness's own names."""

    tasks: list[str] = plugtune.option([], help="Names of tasks or groups of tasks; a comma list.")
    include_path: str | None = plugtune.option(None, help="Folder with task files (YAML) of your own.")
    allow_task_code: bool = plugtune.option(False, help="Let task files of that folder run Python code beside them.")
    num_fewshot: int | None = plugtune.option(
        None, help="Solved examples before each question; the task's own number when left out.", minimum=0
    )
    limit: int | None = plugtune.option(None, help="Only so many rows of each task.", minimum=1)
    batch_size: int = plugtune.option(4, help="Requests computed together.", minimum=1)
    apply_chat_template: bool = plugtune.option(False, help="Ask in the model's chat template instead of plain text.")
    seed: int = plugtune.option(1234, help="Seed of the choice of examples and of sampling.", minimum=0)
    save_dir: str | None = plugtune.option(None, help="New folder for the report and every answer.")

"""The folder of a run before it starts: free, to be gone on with, or taken; and what an interrupted save left in it."""

from __future__ import annotations

import shutil
from pathlib import Path

from plugtune.errors import RequestError
from plugtune.plugins.lockfile import RUN_FILE
from plugtune.training.checkpoint import MANIFEST, STAGING, checkpoints, choose, verify
from plugtune.training.plan import Plan
from plugtune.training.sameness import check_same_run, identity

LAUNCHER_FILES = frozenset({"training_args.yaml", "running_log.txt", "board_config.yaml", RUN_FILE})
"""What a program that starts runs may have put into `output_dir` before the run: its options, its log, its form.
A run that failed before its first step has left its list of plugins and nothing to lose."""


def check_output(plan: Plan, restarted: bool = False, processes: int = 1) -> Path | None:
    """The checkpoint that the run goes on from, if any.

    Args:
        plan: the plan; what is decided is written into it.
        restarted: whether the launcher has started this run again after a failure: it goes on from the newest whole
            checkpoint, or from the beginning when there is none.
        processes: how many take part.

    Raises:
        RequestError: the folder belongs to something else, or the checkpoint to another run.
    """
    folder, options = Path(str(plan.run.output_dir)), plan.run
    if not options.do_train or not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        return None
    if not folder.is_dir():
        raise RequestError(f"output_dir {folder} is a file", where="output_dir")
    wanted: str | bool | None = options.resume_from_checkpoint
    if restarted:
        wanted = any(not found.broken for found in checkpoints(folder))
    chosen, notes = choose(folder, wanted)
    plan.notes += notes
    if chosen is not None:
        plan.notes += check_same_run(chosen, identity(plan, processes))
        plan.choose("resume", chosen, "restarted after a failure" if restarted else "resume_from_checkpoint")
    elif not restarted:
        _refuse_taken(folder, options.overwrite_output_dir)
    return chosen


def _refuse_taken(folder: Path, overwrite: bool) -> None:
    names = {p.name for p in folder.iterdir()} - {STAGING} - LAUNCHER_FILES
    ours = "run.json" in names or "trainer_log.jsonl" in names or any(n.startswith("checkpoint-") for n in names)
    if names and not ours:
        raise RequestError(
            f"output_dir {folder} holds other files ({', '.join(sorted(names)[:3])} …)", where="output_dir",
            fix="choose an empty folder",
        )  # fmt: skip
    if ours and not overwrite:
        raise RequestError(
            f"output_dir {folder} holds an earlier run", where="output_dir",
            fix="add --resume_from_checkpoint true to go on with it, or --overwrite_output_dir to start again",
        )  # fmt: skip


def clear_leftovers(folder: Path) -> None:
    """Remove what a save that was cut short has left: a staging folder, and files written aside."""
    shutil.rmtree(folder / STAGING, ignore_errors=True)
    for part in folder.glob(".*.part"):
        part.unlink(missing_ok=True)


def check_start(plan: Plan, model: Path) -> None:
    """The weights that a new run starts from: whole, and of the kind that is asked for; told when a run left them.

    Raises:
        RequestError: a checkpoint is broken, or a folder holds no adapter; names where its weights are, if anywhere.
    """
    adapters = [Path(plan.model.adapter_folder or "") / name for name in plan.model.adapter_name_or_path]
    for folder, option in [(model, "model_name_or_path"), *((a, "adapter_name_or_path") for a in adapters)]:
        broken = verify(folder) if (folder / MANIFEST).is_file() else ""
        if broken:
            raise RequestError(f"checkpoint {folder} is not whole", where=option, why=broken)
    for folder in adapters:
        if not (folder / "adapter_config.json").is_file():
            whole = next((found.path for found in checkpoints(folder) if not found.broken), None)
            raise RequestError(
                f"{folder} holds no adapter", where="adapter_name_or_path",
                why="its run was stopped before the end" if whole else "there is no adapter_config.json",
                fix=f"go on with that run (--resume_from_checkpoint true), or start from {whole}" if whole else "",
            )  # fmt: skip
    afresh = "a new run starts from them: steps, optimizer, schedule and rows begin afresh"
    if plan.run.do_train and not plan.run.resume_from_checkpoint:
        if adapters:
            plan.choose("weights", ", ".join(str(folder) for folder in adapters), afresh)
        elif (model / "trainer_state.json").is_file():
            plan.choose("weights", model, afresh)

"""Saving of a trainer: checkpoints and final files are whole or absent, whichever process is killed and when.

One process publishes what all of them have written; the others wait before and after. An error while saving, a full
disk above all, names what is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import Trainer

from plugtune.errors import RunError
from plugtune.training.checkpoint import PREFIX, STAGING, checkpoints, keep_newest, move_files, publish
from plugtune.training.sameness import identity


class WholeSaves(Trainer):
    """A `transformers.Trainer` whose files appear whole. Needs `context` (`training.context.TrainerContext`)."""

    context: Any
    _staging: Path | None = None

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging) if self._staging is not None else super()._get_output_dir(trial=trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save aside, seal, rename: `checkpoint-N` is complete or absent, whenever the process is killed."""
        output_dir = Path(super()._get_output_dir(trial=trial))
        step = self.state.global_step
        final = output_dir / f"{PREFIX}{step}"
        if self.state.best_global_step == step:
            self.state.best_model_checkpoint = str(final)
        self._staging = output_dir / STAGING
        try:
            with told_what_is_kept(output_dir, final.name):
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()  # every process writes its own random state
                if self.args.should_save:
                    publish(output_dir, step, identity(self.context.plan, self.args.world_size))
                    keep_newest(output_dir, self.args.save_total_limit, self.state.best_model_checkpoint)
                self.accelerator.wait_for_everyone()
        finally:
            self._staging = None
        if self.is_local_process_zero():  # machines with folders of their own have staged there too
            shutil.rmtree(output_dir / STAGING, ignore_errors=True)

    def save_final(self, output_dir: Path) -> None:
        """The trained weights and what belongs to them, written aside and moved to `output_dir` file by file."""
        aside = output_dir / STAGING / "final"
        with told_what_is_kept(output_dir, "the trained weights"):
            self.save_model(str(aside))
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                move_files(aside, output_dir)
            self.accelerator.wait_for_everyone()
        if self.is_local_process_zero():
            shutil.rmtree(aside.parent, ignore_errors=True)


@contextmanager
def told_what_is_kept(output_dir: Path, what: str) -> Iterator[None]:
    """Turn any error of a save into one that names the newest whole checkpoint; make room by removing the half one.

    The libraries below raise errors of several kinds for a full disk (safetensors and torch have their own).
    """
    try:
        yield
    except RunError:
        raise
    except Exception as error:
        shutil.rmtree(output_dir / STAGING, ignore_errors=True)
        whole = next((found.path.name for found in checkpoints(output_dir) if not found.broken), "")
        free = shutil.disk_usage(output_dir).free / 2**20
        raise RunError(
            f"saving {what} failed", where=str(output_dir),
            why=f"{str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__} "
            f"({free:,.0f} MiB free there)",
            fix="free some space and "
            + (f"go on with --resume_from_checkpoint true; {whole} is kept" if whole else "start again"),
        ) from error  # fmt: skip

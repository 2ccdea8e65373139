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

from accelerate.utils import gather_object
from transformers import Trainer

from plugtune.errors import RunError
from plugtune.training.checkpoint import PREFIX, STAGING, checkpoints, keep_newest, move_files, publish
from plugtune.training.digests import Digest, look, names_in, share
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
                known = self._hashed_by_all(self._staging / final.name)
                if self.args.should_save:
                    publish(output_dir, step, identity(self.context.plan, self.args.world_size), known)
                    keep_newest(output_dir, self.args.save_total_limit, self.state.best_model_checkpoint)
                self.accelerator.wait_for_everyone()
        finally:
            self._staging = None
        if self.is_local_process_zero():  # machines with folders of their own have staged there too
            shutil.rmtree(output_dir / STAGING, ignore_errors=True)

    def _hashed_by_all(self, staged: Path) -> dict[str, Digest]:
        """What all processes have hashed of a checkpoint, each its share; nothing for a process alone.

        Raises:
            RunError: in every process, when parts of it stand where process 0 does not see them.
        """
        rank, size = self.args.process_index, self.args.world_size
        if size == 1:
            return {}
        names = names_in(staged)
        seen = look(staged, names, share(names, rank, size), settle=True)
        every = [dict(found) for found in gather_object([list(seen.items())])]
        apart = sorted({name for found in every for name in found} - set(every[0]))
        if parts := [name for name in apart if not Path(name).name.startswith("rng_state")]:
            raise RunError(
                "a checkpoint was cut up among machines that do not share its folder", where=str(staged.parent.parent),
                why=f"{', '.join(parts[:3])} cannot be seen by process 0",
                fix="give an output_dir on a file system that all machines see",
            )  # fmt: skip
        return {name: digest for found in every for name, digest in found.items() if digest.sha256}

    def save_final(self, output_dir: Path) -> None:
        """The trained weights and what belongs to them, written aside and moved to `output_dir` file by file."""
        aside = output_dir / STAGING / "final"
        with told_what_is_kept(output_dir, "the trained weights"):
            with self._whole_weights():
                self.save_model(str(aside))
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                move_files(aside, output_dir)
            self.accelerator.wait_for_everyone()
        if self.is_local_process_zero():
            shutil.rmtree(aside.parent, ignore_errors=True)

    @contextmanager
    def _whole_weights(self) -> Iterator[None]:
        """Under FSDP with cut-up checkpoints, `save_model` writes nothing; inside this it gathers the weights."""
        plugin = self.accelerator.state.fsdp_plugin if self.is_fsdp_enabled else None
        if plugin is None:
            yield
            return
        from torch.distributed.fsdp import StateDictType

        kept, plugin.state_dict_type = plugin.state_dict_type, StateDictType.FULL_STATE_DICT
        try:
            yield
        finally:
            plugin.state_dict_type = kept


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

"""Checkpoints that are whole or not there: a manifest seals each one, and only sealed ones are resumed from.

The trainer writes a checkpoint's files one after another; a kill in between would leave a folder that looks like the
newest checkpoint and is not (missing optimizer or random state would even be resumed silently). So they are written in
a staging folder, sealed with `manifest.json` (sizes and SHA-256 of all files) and moved to their place in one rename.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from plugtune.errors import RequestError
from plugtune.training.digests import Digest, look, names_in

MANIFEST = "manifest.json"
PREFIX = "checkpoint-"
STAGING = ".saving"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all (aside, fsync, rename)."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def seal(
    folder: Path, step: int, run: Mapping[str, str] | None = None, known: Mapping[str, Digest] | None = None
) -> None:
    """Write the manifest of a checkpoint folder, with what its run was; it counts from now on.

    Args:
        folder: the checkpoint.
        step: the step it was saved at.
        run: what the run was.
        known: files that other processes have hashed; what they saw under another size or time is hashed here.

    Raises:
        OSError: a file cannot be read or the manifest not be written.
    """
    names = [name for name in names_in(folder) if name != MANIFEST]
    seen = look(folder, names)
    theirs = {name: found for name, found in (known or {}).items() if found.sha256}
    foreign = {name: theirs[name] for name in names if seen[name].of_same_file(theirs.get(name))}
    own = [name for name in names if name not in foreign]
    whole = foreign | look(folder, own, own, settle=True)
    files = {name: {"bytes": whole[name].size, "sha256": whole[name].sha256} for name in names}
    write_whole(
        folder / MANIFEST, json.dumps({"step": step, "run": dict(run or {}), "files": files}, indent=1).encode()
    )


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint folder, its step, and why it cannot be used (empty: it is whole)."""

    path: Path
    step: int
    broken: str = ""


def verify(folder: Path) -> str:
    """Why a checkpoint is not whole; an empty string when it is."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return "it has no manifest, so saving was cut short"
    try:
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, OSError) as error:
        return f"its manifest cannot be read ({error})"
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected["bytes"]:
            return f"{name} has {path.stat().st_size} bytes instead of {expected['bytes']}"
    seen = look(folder, files, files)
    changed = next((name for name in files if seen[name].sha256 != files[name]["sha256"]), "")
    return f"{changed} has changed since it was saved" if changed else ""


def step_of(folder: Path) -> int:
    """The step at which a whole checkpoint was saved."""
    return int(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["step"])


def checkpoints(output_dir: str | Path) -> Iterator[Found]:
    """The checkpoint folders, newest first, each verified when it is asked for: a large one takes minutes."""
    folders = [path for path in Path(output_dir).glob(f"{PREFIX}*") if path.is_dir()]
    steps = {path: int(step) for path in folders if (step := path.name.removeprefix(PREFIX)).isdigit()}
    for path in sorted(steps, key=steps.__getitem__, reverse=True):
        yield Found(path, steps[path], verify(path))


def choose(output_dir: str | Path, wanted: str | bool | None) -> tuple[Path | None, list[str]]:
    """The checkpoint to resume from, and notes about the ones passed over.

    Args:
        output_dir: the run's folder.
        wanted: `True` for the newest whole one, a folder, or nothing for a fresh start.

    Raises:
        RequestError: a named checkpoint is missing or broken, or `True` was given and there is no whole one.
    """
    if not wanted:
        return None, []
    if isinstance(wanted, str) and wanted.lower() not in ("true", "latest"):
        folder = Path(wanted)
        if not folder.is_dir():
            raise RequestError(
                f"checkpoint {wanted} does not exist",
                where="resume_from_checkpoint",
                fix="name a checkpoint-N folder, or `true` for the newest whole one",
            )
        broken = verify(folder)
        if broken:
            raise RequestError(f"checkpoint {wanted} is not whole", where="resume_from_checkpoint", why=broken)
        return folder, []
    notes: list[str] = []
    for item in checkpoints(output_dir):
        if not item.broken:
            return item.path, notes
        notes.append(f"passed over {item.path.name}: {item.broken}")
    raise RequestError(
        f"{output_dir} holds no whole checkpoint to resume from",
        where="resume_from_checkpoint",
        why="; ".join(notes) or "there is no checkpoint-N folder",
        fix="leave resume_from_checkpoint out to start from the beginning",
    )


def publish(
    output_dir: Path, step: int, run: Mapping[str, str] | None = None, known: Mapping[str, Digest] | None = None
) -> None:
    """Seal the checkpoint that stands in the staging folder (see `seal`) and move it to its place in one rename."""
    staged = output_dir / STAGING / f"{PREFIX}{step}"
    seal(staged, step, run, known)
    final = output_dir / staged.name
    if final.exists():  # the same step was saved before this run was resumed
        shutil.rmtree(final)
    staged.replace(final)
    shutil.rmtree(output_dir / STAGING, ignore_errors=True)


def move_files(source: Path, target: Path) -> None:
    """Move files of a finished folder to their place, each in one rename; an index after what it lists."""
    files = sorted((p for p in source.rglob("*") if p.is_file()), key=lambda p: p.name.endswith(".index.json"))
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for path in files:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
    shutil.rmtree(source, ignore_errors=True)


def keep_newest(output_dir: Path, limit: int | None, best: str | None) -> None:
    """Remove the oldest checkpoints beyond `limit`, never the best one nor the newest."""
    if not limit or limit < 1:
        return
    folders = [p for p in output_dir.glob(f"{PREFIX}*") if p.name.removeprefix(PREFIX).isdigit()]
    folders.sort(key=lambda p: int(p.name.removeprefix(PREFIX)))
    spared = {folders[-1], Path(best)} if best and folders else set(folders[-1:])
    removable = [p for p in folders if p not in spared]
    for folder in removable[: max(len(folders) - max(limit, len(spared)), 0)]:
        shutil.rmtree(folder, ignore_errors=True)

"""Settings of the page in a YAML file, id → value: what was saved here, and what LLaMA-Factory's board saved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from plugtune.errors import RequestError, did_you_mean
from plugtune.options.aliases import ALIASES
from plugtune.training.checkpoint import write_whole

from plugtune_app_board.confine import Roots, plain_name
from plugtune_app_board.known import STAGE_TITLES

OLD_IDS = {
    "top.adapter_path": "top.checkpoint_path", "train.warmup_ratio": "train.warmup_steps",
    "train.name_module_trainable": "train.freeze_trainable_modules", "train.seed": "train.train_seed",
    "train.num_layer_trainable": "train.freeze_trainable_layers", "eval.seed": "eval.eval_seed",
}  # fmt: skip
SILENT = ("top.lang", "train.current_time", "train.config_path", "train.device_count", "infer.", "train.preview")
"""Ids that describe the page they were saved on and mean nothing here."""
TITLES = {title: name for name, title in STAGE_TITLES.items()}
OFF = {
    "train.neftune_alpha": (0, 0.0, "0"),
    "train.loraplus_lr_ratio": (0, 0.0, "0"),
    "train.report_to": ([], ["none"], "none", ""),
}
"""Values with which LLaMA-Factory says `off` where the option here is left out."""


def save(folder: Path, roots: Roots, name: str, values: Mapping[str, Any]) -> Path:
    """Write the settings to `folder/NAME.yaml`.

    Raises:
        RequestError: the name is no plain name.
    """
    stem = plain_name(name.removesuffix(".yaml").removesuffix(".yml"), "config_path")
    path = roots.inside(folder / f"{stem}.yaml", "config_path")
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in values.items() if value is not None}
    write_whole(path, yaml.safe_dump(kept, allow_unicode=True, sort_keys=False).encode("utf-8"))
    return path


def names(folder: Path) -> list[str]:
    """Saved settings, newest first."""
    files = [p for p in folder.glob("*.y*ml") if p.is_file()] if folder.is_dir() else []
    return [p.name for p in sorted(files, key=lambda p: p.stat().st_mtime, reverse=True)]


def load(folder: Path, roots: Roots, name: str) -> dict[str, Any]:
    """Read settings by their name in `folder`, or from a file inside the roots.

    Raises:
        RequestError: there is none, it leads outside, or it is no such file.
    """
    text = str(name or "").strip()
    path = roots.inside(folder / text, "config_path")
    if not path.is_file():
        path = roots.inside(text, "config_path")
    return read(path)


def read(path: Path) -> dict[str, Any]:
    """The settings of a file.

    Raises:
        RequestError: it is missing or no YAML mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise RequestError(f"{path.name} does not exist", where="config_path") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"{path.name} cannot be read", where="config_path", why=str(error)) from error
    if not isinstance(values, dict):
        raise RequestError(f"{path.name} holds no settings", where="config_path", fix="it must be `id: value` lines")
    return {str(key): value for key, value in values.items()}


def adopt(values: Mapping[str, Any], ids: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Values by the ids of this board, and a line for each id that has no place here."""
    known = set(ids)
    found: dict[str, Any] = {}
    told: list[str] = []
    for key, value in values.items():
        target = _target(key, known)
        if target in known:
            found[target] = _meaning(target, value)
        elif not key.startswith(SILENT):
            near = did_you_mean(key, known)
            told.append(f"{key} = {value!r}" + (f" ({near})" if near else ""))
    return found, told


def _target(key: str, known: set[str]) -> str:
    if key in known:
        return key
    if key in OLD_IDS:
        return OLD_IDS[key]
    tab, _, name = key.partition(".")
    alias = ALIASES.get(name)
    new = next(iter(alias.convert(0)), "") if alias is not None else ""
    return f"{tab}.{new}" if new else key


def _meaning(target: str, value: Any) -> Any:
    if target == "train.training_stage":
        return TITLES.get(str(value), value)
    if target in OFF and value in OFF[target]:
        return "" if target == "train.report_to" else None
    if target == "train.report_to" and isinstance(value, list):
        return ",".join(value)
    if target == "train.packing" and isinstance(value, bool):
        return "true" if value else "false"
    return value

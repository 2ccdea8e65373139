"""What can be chosen: names out of the catalog and the folders of earlier runs. Loads no model and reads no rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugtune.capabilities import Hub, ModelEntry, ModelFamily, Stage, TuningMethod
from plugtune.catalog import Catalog
from plugtune.errors import PlugtuneError

from plugtune_app_board.settings import Settings

CUSTOM = "Custom"
STAGE_TITLES = {
    "sft": "Supervised Fine-Tuning", "rm": "Reward Modeling", "ppo": "PPO", "dpo": "DPO", "kto": "KTO",
    "pt": "Pre-Training",
}  # fmt: skip
"""How LLaMA-Factory's board writes stages, in its order; settings saved there use these titles."""


@dataclass(slots=True)
class Known:
    """Names by kind, for a board.

    Attributes:
        catalog: what is installed.
        settings: folders of the board.
    """

    catalog: Catalog
    settings: Settings

    def models(self) -> dict[str, tuple[ModelFamily, ModelEntry]]:
        """Published checkpoints by name."""
        families: list[ModelFamily] = self.catalog.all("family")
        return {entry.name: (family, entry) for family in families for entry in family.models}

    def path_of(self, model: str, hub: str) -> str:
        """The id of a model on a hub, or on any other when that one does not have it."""
        found = self.models().get(model)
        if found is None:
            return ""
        ids = found[1].hub
        return str(ids.get(hub) or next(iter(ids.values()), ""))

    def template_of(self, model: str, path: str) -> str:
        """The template to begin with: a named chat model's, else the tokenizer's own (`auto`)."""
        found = self.models().get(model)
        if found is None:
            return "auto"
        family, entry = found
        return entry.template or (family.template if entry.chat else "") or "auto"

    def stages(self) -> list[str]:
        """Installed stages, the customary ones first."""
        names = self.catalog.names("stage")
        known = [name for name in STAGE_TITLES if name in names]
        return known + [name for name in names if name not in known]

    def stage(self, name: str) -> Stage:
        """The stage of that name or title."""
        titles = {title.lower(): key for key, title in STAGE_TITLES.items()}
        found: Stage = self.catalog.get("stage", titles.get(str(name).lower(), str(name)))
        return found

    def methods(self) -> list[str]:
        """Installed tuning methods, full first, adapters last."""
        order = {"full": 0, "freeze": 1, "lora": 2}
        return sorted(self.catalog.names("method"), key=lambda name: (order.get(name, 9), name))

    def method(self, name: str) -> TuningMethod:
        """The method of that name."""
        found: TuningMethod = self.catalog.get("method", str(name))
        return found

    def templates(self) -> list[str]:
        """Installed templates behind `auto`."""
        return ["auto", *self.catalog.names("template")]

    def hubs(self) -> list[Hub]:
        """Installed hubs."""
        return list(self.catalog.all("hub"))

    def datasets(self, folder: str, stage: str) -> list[str]:
        """Names of the data sets in a folder's registry and of plugins that suit a stage."""
        from plugtune.data.registry import Registry

        kind = self.stage(stage).rows
        try:
            registry = Registry.open(self.catalog, str(self.settings.roots.inside(folder or "data", "dataset_dir")))
        except PlugtuneError:
            return []
        return sorted(name for name, (info, _, _) in registry.entries.items() if self._suits(info, kind))

    def _suits(self, info: Any, kind: str) -> bool:
        """Whether an entry's rows are of a kind: `ranking` marks pairs, a `kto_tag` marks judged answers."""
        if not isinstance(info, dict):
            return False
        judged = bool((info.get("columns") or {}).get("kto_tag"))
        if kind in ("preference", "feedback"):
            return judged if kind == "feedback" else bool(info.get("ranking"))
        formats = {item.name: item.makes for item in self.catalog.all("format")}
        makes: Sequence[str] = formats.get(str(info.get("formatting", "alpaca")), ())
        return kind in makes and not info.get("ranking") and not judged

    def save_folder(self, model: str, method: str) -> Path:
        """`saves/MODEL/METHOD`, the model's name without separators."""
        name = "".join(c for c in str(model or CUSTOM) if c not in "/\\:\0").replace(" ", "").strip(".") or CUSTOM
        return self.settings.saves / name / "".join(c for c in str(method) if c.isalnum() or c in "_-")

    def runs(self, model: str, method: str) -> list[str]:
        """Names of earlier runs of a model with a method, newest first."""
        folder = self.save_folder(model, method)
        found = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")] if folder.is_dir() else []
        return [p.name for p in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)]

    def adapters(self, model: str, method: str) -> list[str]:
        """Earlier runs of a model and method that hold what they trained, and their checkpoints."""
        folder = self.save_folder(model, method)
        found = []
        for name in self.runs(model, method):
            for candidate in (folder / name, *sorted((folder / name).glob("checkpoint-*"))):
                if has_weights(candidate):
                    found.append(str(candidate.relative_to(folder)))
        return found

    def all_runs(self) -> list[Path]:
        """Every run folder below `saves`, newest first."""
        found = {
            p.parent for name in ("training_args.yaml", "run.json") for p in self.settings.saves.glob(f"*/*/*/{name}")
        }
        return sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)


def has_weights(folder: Path) -> bool:
    """Whether a folder holds an adapter or a model."""
    return (folder / "adapter_config.json").is_file() or any(folder.glob("*.safetensors"))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object on disk, empty when there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}

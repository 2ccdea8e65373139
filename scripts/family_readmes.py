"""Writes plugins/family-*/README.md: the models, templates and ranges of each, and a command that trains one.

    python scripts/family_readmes.py [--check]

With `--check` the pages are only compared, and a difference ends with 1.
"""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from plugtune.capabilities import ModelEntry, ModelFamily

ROOT = Path(__file__).parents[1]

PAGE = """# {distribution}

{about}.

| family | checkpoints | template | architectures | transformers |
|---|---|---|---|---|
{rows}

{templates}```bash
pip install {distribution}
plugtune train --stage sft --do_train --model_name_or_path {model} --dataset identity \\
  --finetuning_type lora --output_dir out{flags}
plugtune export --model_name_or_path {model} --adapter_name_or_path out --export_dir merged{export}
```

{notes}`plugtune list models` and `plugtune show family NAME` tell more. Made by `scripts/family_readmes.py`.
"""


def page(folder: Path) -> str:
    """The page of a plugin's folder."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (module,) = (importlib.import_module(name) for name in project["entry-points"]["plugtune"].values())
    families: list[ModelFamily] = module.plugtune_families()
    family, model = _example(families)
    template = model.template or family.template
    named = f" --template {template}" if template not in ("", "auto") else ""
    return PAGE.format(
        distribution=project["name"],
        about=re.sub(r"(:| model family| families).*plugtune.*$", "", project["description"]).rstrip("."),
        rows="\n".join(_row(item) for item in families),
        templates=_templates(module),
        model=model.name,
        flags=named + (" --trust_remote_code true" if "trust_remote_code" in model.needs else ""),
        export=named,
        notes=_notes(families),
    )


def _example(families: list[ModelFamily]) -> tuple[ModelFamily, ModelEntry]:
    """A chat model to show, one that needs nothing more where there is one; else the first of all."""
    entries = [(family, model) for family in families for model in family.models]
    return min(entries, key=lambda entry: (bool(entry[1].needs), not entry[1].chat))


def _row(family: ModelFamily) -> str:
    names = [f"`{model.name}`" for model in (family.models[0], family.models[-1])]
    shown = " … ".join(dict.fromkeys(names))
    kinds = ", ".join(f"`{kind}`" for kind in family.model_types)
    kinds = kinds or (f"as {', '.join(f'`{kind}`' for kind in family.like)}" if family.like else "not in transformers")
    ranges = [r.removeprefix("transformers") for r in family.requires if r.startswith("transformers")] or [_core()]
    count, template = len(family.models), family.template or "auto"
    return f"| {family.name} | {count}: {shown} | {template} | {kinds} | {ranges[0]} |"


def _core() -> str:
    """The range of transformers that plugtune itself asks for."""
    project = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return next(r.removeprefix("transformers") for r in project["dependencies"] if r.startswith("transformers>"))


def _templates(module: Any) -> str:
    names = [template.name for template in module.plugtune_templates()] if hasattr(module, "plugtune_templates") else []
    return f"Templates: {', '.join(f'`{name}`' for name in names)}.\n\n" if names else ""


def _notes(families: list[ModelFamily]) -> str:
    notes = []
    if any(family.layout for family in families):
        notes.append("Original checkpoints load as they are, without code of their repositories (docs/layouts.md).")
    if any(model.needs for family in families for model in family.models):
        notes.append("Some checkpoints need more than transformers; asking for one says what.")
    return "\n".join(notes) + "\n\n" if notes else ""


def main() -> int:
    """0 when all is as it should be."""
    check, old = "--check" in sys.argv[1:], []
    for folder in sorted((ROOT / "plugins").glob("family-*")):
        file, text = folder / "README.md", page(folder)
        if file.read_text(encoding="utf-8") == text:
            continue
        old.append(str(file.relative_to(ROOT)))
        if not check:
            file.write_text(text, encoding="utf-8")
    if check and old:
        print(f"not current: {', '.join(old)}; run python scripts/family_readmes.py", file=sys.stderr)
    return 1 if check and old else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Writes docs/models.md: what each family of this tree knows, by plugin.

    python scripts/models_page.py [--check]

With `--check` the page is only compared, and a difference ends with 1.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path

from plugtune.capabilities import ModelFamily
from plugtune.catalog import Provided
from plugtune.plugins.host import PluginHost
from plugtune.plugins.policy import Policy

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "models.md"

HEAD = """# Models

{models} checkpoints in {families} families, {chat} of them tuned for chat. `plugtune list models` names each with its
size, its ids on Hugging Face and ModelScope and its template; `plugtune show family NAME` tells everything about a
family. This page is made by `scripts/models_page.py` from the plugins.

A model is found by its name, by its id on a hub (`owner/name`) or by its folder. A folder belongs to the family that
claims the `model_type` or the `architectures` of its config.json; each of these has one owner. A family without claims
only names checkpoints whose architecture another family claims. A model that no family claims is trained all the same
when transformers knows its architecture: all linear layers are adapted, its blocks are looked for in `model.layers`.

To add a checkpoint, add a line to its family's `models.tsv` (columns as in `plugtune.modeling.entries`). Each id stands
in a public list: the constants of LLaMA-Factory (0.4.0 to 0.9.5 and newer), the models of ms-swift (for ModelScope),
the sources of transformers, litgpt, transformer-lens, unsloth or vLLM, or its vendor's page. Ids that are not known
stay out: a name without an id on a hub is refused there, before anything is fetched.

Full and freeze tuning of a model that also sees trains the text part. Where transformers loads that part alone (llama4)
a text model is saved; an adapter that is merged keeps the whole checkpoint.

`--lora_target all` leaves alone the output head, the layers under "left alone", and, in a mixture of experts, the
routed experts and every layer that shares a name with their parts; the run says how many weights that are.

| plugin | family | checkpoints | needs its own code | default template | claims | usual LoRA targets | left alone |
|---|---|---|---|---|---|---|---|
"""


def families() -> list[Provided]:
    """Every family of the tree with its plugin, in the order of plugins."""
    found: list[Provided] = []
    for folder in sorted((ROOT / "plugins").glob("family-*")):
        project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        modules = [(n, importlib.import_module(m)) for n, m in project["entry-points"]["plugtune"].items()]
        host = PluginHost(plugins=modules, policy=Policy()).load()
        found += host.catalog.entries("family")
    return found


def page() -> str:
    """The whole page."""
    rows = families()
    models = [model for row in rows for model in row.item.models]
    head = HEAD.format(models=len(models), families=len(rows), chat=sum(model.chat for model in models))
    return head + "".join(_line(row.plugin, row.item) for row in rows)


def _line(plugin: str, family: ModelFamily) -> str:
    own = sum(bool(model.needs) for model in family.models)
    cells = (
        plugin, family.name, len(family.models), own or "", family.template or "auto", ", ".join(family.model_types),
        ", ".join(family.lora_targets), ", ".join(family.unadapted),
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |\n"


def main() -> None:
    """Write or compare."""
    made = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != made:
        raise SystemExit("docs/models.md is not that of this tree: make pages")


if __name__ == "__main__":
    main()

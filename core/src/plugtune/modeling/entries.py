"""Published checkpoints as a family plugin keeps them: a table in a file, read in a millisecond, and looked up by name.

The table is tab-separated text with a header line, one checkpoint a line:

    family  name  size  kind  template  huggingface  modelscope  needs

`kind` is `base` or `chat`; `-` is an empty field; `=` under `modelscope` is the id of `huggingface`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from plugtune.capabilities import ModelEntry, ModelFamily

COLUMNS = ("family", "name", "size", "kind", "template", "huggingface", "modelscope", "needs")

STANDARD = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a usual decoder block: attention and a gated MLP."""


def read_models(path: Path) -> dict[str, tuple[ModelEntry, ...]]:
    """Checkpoints of a table by family, in the order of the file.

    Raises:
        ValueError: the header or a line does not have that form; names file and line.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or tuple(lines[0].split("\t")) != COLUMNS:
        raise ValueError(f"{path}: the first line must name the columns {', '.join(COLUMNS)}")
    found: dict[str, list[ModelEntry]] = {}
    for number, line in enumerate(lines[1:], 2):
        fields = line.split("\t")
        if len(fields) != len(COLUMNS) or fields[3] not in ("base", "chat"):
            raise ValueError(f"{path}, line {number}: expected {len(COLUMNS)} fields, the fourth base or chat")
        family, name, size, kind, template, repository, mirror, needs = ("" if f == "-" else f for f in fields)
        hub = {"huggingface": repository, "modelscope": repository if mirror == "=" else mirror}
        ids = {key: value for key, value in hub.items() if value}
        found.setdefault(family, []).append(ModelEntry(name, size, ids, kind == "chat", template, needs))
    return {family: tuple(entries) for family, entries in found.items()}


def find_entry(name: str, families: Iterable[ModelFamily]) -> ModelEntry | None:
    """The checkpoint of that name; case, spaces, hyphens and underscores do not count when one alone is meant.

    `LLaMA2-7B-Chat` finds `Llama-2-7B-Chat`.
    """
    entries = [entry for family in families for entry in family.models]
    exact = [entry for entry in entries if entry.name == name]
    near = exact or [entry for entry in entries if _plain(entry.name) == _plain(name)]
    return near[0] if len(near) == 1 else None


def _plain(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", " -_"))


def double_claims(families: Sequence[ModelFamily]) -> list[str]:
    """What two families claim at once: model types, architectures, names of checkpoints. Each has one owner."""
    problems = []
    for what, values in (
        ("model type", lambda family: family.model_types),
        ("architecture", lambda family: family.architectures),
        ("model", lambda family: [entry.name for entry in family.models]),
    ):
        owners: dict[str, list[str]] = {}
        for family in families:
            for value in values(family):
                owners.setdefault(value, []).append(family.name)
        problems += [
            f"{what} {value!r} is claimed by the families {' and '.join(names)}"
            for value, names in owners.items()
            if len(names) > 1
        ]
    return problems

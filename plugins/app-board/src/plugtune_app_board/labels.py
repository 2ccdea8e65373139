"""The words of the page in its languages, from one YAML file a language. A missing word falls back to English."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

LANGUAGES = {"en": "English", "ru": "Русский", "zh": "中文"}


@dataclass(frozen=True, slots=True)
class Labels:
    """The words of one language.

    Attributes:
        language: `en`, `ru` or `zh`.
        words: texts of the page by key.
        fields: id of a field → its label and the line below it.
        options: option → label and line, for fields that are made from schemas.
    """

    language: str
    words: dict[str, str]
    fields: dict[str, Any]
    options: dict[str, Any]

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a key, with `{name}` replaced."""
        text = self.words.get(key) or english().words.get(key) or key
        return text.format(**values) if values else text

    def field(self, identity: str, option: str = "", help: str = "") -> tuple[str, str]:
        """Label and line of a field: its own, its option's, else the option's name and help."""
        found = self.fields.get(identity) or (self.options.get(option) if option else None)
        if found is None and self.language != "en":
            found = english().fields.get(identity)
        if found is None:
            return option or identity.partition(".")[2], help
        label, line = (found, "") if isinstance(found, str) else (found[0], found[1] if len(found) > 1 else "")
        return label, line or help


@cache
def labels(language: str) -> Labels:
    """The words of a language; English for one that is not known."""
    name = language if language in LANGUAGES else "en"
    values = yaml.safe_load((Path(__file__).parent / "labels" / f"{name}.yaml").read_text(encoding="utf-8"))
    return Labels(name, values["words"], values["fields"], values["options"])


def english() -> Labels:
    """The words that others fall back to."""
    return labels("en")

"""The components of the page by id, and how they change language: whatever has a word says how to say it anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import gradio as gr

from plugtune_app_board.fields import Field
from plugtune_app_board.labels import Labels, labels

Change = Callable[[Labels], dict[str, Any]]


class Form:
    """What the page holds.

    Attributes:
        items: components with a value that is saved and composed, by id.
        tabs: the tabs of the page.
        later: what is done when every component is there: events that need them all.
        language: the language the page is built in.
    """

    def __init__(self, language: str) -> None:
        self.language = labels(language).language
        self.tabs: Any = None
        self.items: dict[str, Any] = {}
        self._changes: list[tuple[Any, Change]] = []
        self.later: list[Callable[[], None]] = []
        self._spot: Any = None

    def begin(self) -> None:
        """Make the place that quiet events tell their progress to; called first within the page."""
        self._spot = gr.HTML("", elem_id="spot", padding=False)

    @property
    def quiet(self) -> dict[str, Any]:
        """Settings of an event whose progress is not shown.

        Gradio's page walks through its whole tree for every component that was ever an output of some event, on each
        change of any event's progress. With hundreds of outputs that took most of a core while nothing was done; an
        event that tells its progress to one place costs nothing to speak of.
        """
        return {"show_progress": "hidden", "show_progress_on": self._spot, "api_visibility": "private"}

    def said(self, component: Any, change: Change) -> Any:
        """Remember how a component changes with the language."""
        self._changes.append((component, change))
        return component

    def make(self, kind: Any, change: Change, **settings: Any) -> Any:
        """A component whose words come from `change`."""
        return self.said(kind(**change(labels(self.language)), **settings), change)

    def field(
        self, identity: str, kind: Any, *, choices: Callable[[Labels], Any] | None = None, **settings: Any
    ) -> Any:
        """A component with a value, labelled by its id."""

        def change(words: Labels) -> dict[str, Any]:
            label, info = words.field(identity)
            found: dict[str, Any] = {"label": label, "info": info or None}
            return found | ({"choices": choices(words)} if choices else {})

        component = self.make(kind, change, elem_id=identity.replace(".", "-"), **settings)
        self.items[identity] = component
        return component

    def option(self, item: Field) -> Any:
        """The component of an option, by its type."""
        kind, settings, choices = _widget(item)

        def change(words: Labels) -> dict[str, Any]:
            label, info = words.field(item.id, item.name, item.spec.help)
            return {"label": label, "info": info or None} | ({"choices": choices(words)} if choices else {})

        component = self.make(kind, change, elem_id=item.id.replace(".", "-"), **settings)
        self.items[item.id] = component
        return component

    def button(self, key: str, name: str = "", **settings: Any) -> Any:
        """A button; `name` is its id where two say the same."""
        identity = (name or key).replace("_", "-")
        return self.make(gr.Button, lambda words: {"value": words(key)}, elem_id=identity, size="md", **settings)

    def accordion(self, key: str, **settings: Any) -> Any:
        """A group that folds."""
        return self.make(gr.Accordion, lambda words: {"label": panel_title(words, key)}, open=False, **settings)

    def tab(self, key: str, **settings: Any) -> Any:
        """A tab."""
        return self.make(gr.Tab, lambda words: {"label": words(f"tab_{key}")}, id=key, elem_id=f"tab-{key}", **settings)

    def relabel(self, language: str) -> dict[Any, Any]:
        """Everything in another language."""
        words = labels(language)
        return {component: gr.update(**change(words)) for component, change in self._changes}

    def worded(self) -> list[Any]:
        """The components that `relabel` changes."""
        return [component for component, _ in self._changes]

    def values(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        """Values by id out of what an event brings."""
        return {identity: data[item] for identity, item in self.items.items() if item in data}

    def of(self, *prefixes: str) -> list[Any]:
        """Components whose id begins so."""
        return [item for identity, item in self.items.items() if identity.startswith(prefixes)]


def panel_title(words: Labels, key: str) -> str:
    """The title of a panel: `stage dpo`, `stage dpo+kto` and `method lora` are named by their owners."""
    kind, _, owner = key.partition(" ")
    if kind in ("stage", "method", "optimizer", "exporter") and owner:
        names = [words.words.get(f"{kind}_{name}", name) for name in owner.split("+")]
        return words(f"panel_{kind}", name=", ".join(names))
    return words(f"panel_{key.replace(' ', '_')}")


def _widget(item: Field) -> tuple[Any, dict[str, Any], Callable[[Labels], Any] | None]:
    spec, value = item.spec, item.default
    if spec.type == "bool" and spec.nullable:
        shown = "auto" if value is None else str(value).lower()
        return gr.Dropdown, {"value": shown}, lambda words: [(words(f"is_{c}"), c) for c in ("auto", "true", "false")]
    if spec.type == "bool":
        return gr.Checkbox, {"value": bool(value), "min_width": 220}, None
    if item.suggestions:
        choices = [("–", ""), *((c, c) for c in item.suggestions)] if value is None else list(item.suggestions)
        return gr.Dropdown, {"value": value or "", "choices": choices, "allow_custom_value": True}, None
    if spec.choices:
        names = [(str(choice), str(choice)) for choice in spec.choices]
        empty = [("–", "")] if spec.nullable or value is None else []
        return gr.Dropdown, {"value": "" if value is None else str(value), "choices": [*empty, *names]}, None
    if spec.type == "int" and not spec.nullable and value is not None:  # an empty number box is 0 to the browser
        return gr.Number, {"value": value, "precision": 0}, None
    return gr.Textbox, {"value": "" if value is None else str(value), "lines": 1, "max_lines": 4}, None


def rows(components: Iterable[Any], columns: int) -> list[list[Any]]:
    """Components in rows of equal length."""
    items = list(components)
    return [items[start : start + columns] for start in range(0, len(items), columns)]


def problem_box() -> Any:
    """A place for messages."""
    return gr.HTML("", elem_classes="pt-message", padding=False)

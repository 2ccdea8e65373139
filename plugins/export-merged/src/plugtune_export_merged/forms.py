"""The forms in which a base's tensors and config are written: as they are, native, or in the original layout.

A form takes one original tensor at a time and a function that merges adapters into a native tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from plugtune import RequestError
from plugtune.modeling.layout import Layout, Portable

Merge = Callable[[str, torch.Tensor], torch.Tensor]
Named = tuple[str, torch.Tensor]


class Form(Protocol):
    """How a base is written.

    Attributes:
        config: config.json.
        note: what the user must know about it.
        original_files: whether the folder is for the original code: its tokenizer files and modules are copied.
    """

    config: dict[str, Any]
    original_files: bool

    @property
    def note(self) -> str: ...

    def written(self, name: str, tensor: torch.Tensor, merge: Merge) -> Iterator[Named]:
        """What is written for a tensor of the base."""


@dataclass(slots=True)
class AsItIs:
    """For checkpoints that transformers reads itself."""

    config: dict[str, Any]
    note: str = ""
    original_files: bool = False

    def written(self, name: str, tensor: torch.Tensor, merge: Merge) -> Iterator[Named]:
        """The merged tensor under its name."""
        yield name, merge(name, tensor)


@dataclass(slots=True)
class Native:
    """An original layout written as the native class reads it, without plugtune."""

    layout: Layout
    native: Any
    portable: Portable
    original_files: bool = False
    config: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.config = dict(self.portable.config or {})

    @property
    def note(self) -> str:
        """The portable form's."""
        return self.portable.note

    def written(self, name: str, tensor: torch.Tensor, merge: Merge) -> Iterator[Named]:
        """Its native tensors, merged and finished."""
        for part, piece in self.layout.to_native(name, tensor, self.native):
            yield part, self.portable.finish(part, merge(part, piece))


@dataclass(slots=True)
class Original:
    """An original layout kept: tensors that no adapter changes are the base's own, bit by bit."""

    layout: Layout
    native: Any
    config: dict[str, Any]
    note: str = ""
    original_files: bool = True

    def written(self, name: str, tensor: torch.Tensor, merge: Merge) -> Iterator[Named]:
        """The original tensor, joined from merged pieces where one has changed."""
        pieces = self.layout.to_native(name, tensor, self.native)
        merged = [merge(part, piece) for part, piece in pieces]
        if all(new is old for new, (_, old) in zip(merged, pieces, strict=True)):
            yield name, tensor
        else:
            yield name, self.layout.to_original(name, merged, self.native)


def native_form(layout: Layout | None, native: Any, config: dict[str, Any]) -> Form:
    """The native form.

    Raises:
        RequestError: no class of transformers computes the same as this model.
    """
    if layout is None:
        return AsItIs(config)
    portable = layout.portable(native)
    if portable.config is None:
        raise RequestError(
            "this model cannot be written natively", where="exporter", why=portable.note,
            fix="use --exporter merged, whose folder plugtune loads, or --exporter original-layout for the old code",
        )  # fmt: skip
    return Native(layout, native, portable)


def merged_form(layout: Layout | None, native: Any, config: dict[str, Any]) -> Form:
    """The native form where there is one, else the original layout."""
    if layout is None:
        return AsItIs(config)
    portable = layout.portable(native)
    if portable.config is not None:
        return Native(layout, native, portable)
    kept = {key: value for key, value in config.items() if key != "auto_map"}
    note = f"{portable.note}: the folder keeps the original layout, which plugtune loads and other tools do not"
    return Original(layout, native, kept, note, original_files=False)


def original_form(layout: Layout | None, native: Any, config: dict[str, Any]) -> Form:
    """The original layout.

    Raises:
        RequestError: the model has no layout besides the native one.
    """
    if layout is None:
        raise RequestError(
            "this checkpoint has no layout besides the native one", where="exporter", fix="use --exporter merged"
        )
    return Original(layout, native, dict(config))

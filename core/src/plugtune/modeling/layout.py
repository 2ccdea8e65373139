"""Layouts: how a checkpoint whose format transformers does not read becomes a model of a native class, and back.

A family names its layout (`ModelFamily.layout`), core opens it (`open_layout`) when such a model is loaded or
exported, and never before. From then on `AutoConfig` and `AutoModelForCausalLM` read the original folder by
themselves: config, sharded weights, quantization on the way; and `save_pretrained` writes original names and original
config keys again. The same description moves tensors one by one for exporters, which never hold a model.

Knows how names and tensors are mapped; which names, the family says.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from plugtune.capabilities import ModelFamily, load_ref
from plugtune.errors import RequestError
from plugtune.plugins.compat import requirement_problems

if TYPE_CHECKING:
    import torch

Pieces = Sequence["torch.Tensor"]


@dataclass(frozen=True, slots=True)
class Fused:
    """Several native tensors that the original checkpoint keeps as one.

    Attributes:
        original: the part of the original name that stands for the module (`.attn.c_attn.`).
        native: the parts that take its place, in order (`.self_attn.q_proj.` …).
        split: `split(tensor, config)`: the native tensors; for weights `(out, in)` and for biases `(out,)` alike.
        join: `join(tensors, config)`: the original tensor, bit-equal for the pieces of `split`.
    """

    original: str
    native: tuple[str, ...]
    split: Callable[[torch.Tensor, Any], Pieces]
    join: Callable[[Pieces, Any], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Portable:
    """The form of a checkpoint that tools without plugtune read.

    Attributes:
        config: config.json with a `model_type` that transformers has; `None` when no class computes the same.
        finish: `finish(name, tensor)`: a last change of a native tensor, after adapters are merged.
        note: what the user must know: where the form is not exact, or why there is none.
    """

    config: Mapping[str, Any] | None
    finish: Callable[[str, torch.Tensor], torch.Tensor] = lambda _, tensor: tensor
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """An original checkpoint layout.

    Attributes:
        config: config class (`OriginalConfig` over the native one), its `model_type` the original one.
        model: model class, called as the original `architectures` value is.
        renames: (original, native) parts of names, replaced in order; `^` at the start of both anchors them.
        fused: modules that are split, matched after renaming.
        portable: `portable(config) -> Portable`.
        conversions: `conversions() -> list` of further transformers weight transforms, for loading and saving whole
            models; exporters leave those tensors in their original form.
        buffers: pattern of left-over tensors that carry no weights (`inv_freq`).
    """

    config: type[Any]
    model: type[Any]
    renames: tuple[tuple[str, str], ...] = ()
    fused: tuple[Fused, ...] = ()
    portable: Callable[[Any], Portable]
    conversions: Callable[[], list[Any]] = list
    buffers: str = r"inv_freq$"
    _opened: ClassVar[set[int]] = set()

    def register(self) -> None:
        """Make the layout known to transformers; may be called again."""
        if id(self) in self._opened:
            return
        from transformers import AutoConfig, AutoModelForCausalLM
        from transformers.conversion_mapping import register_checkpoint_conversion_mapping

        from plugtune.modeling.conversion import transforms_of

        AutoConfig.register(self.config.model_type, self.config, exist_ok=True)
        AutoModelForCausalLM.register(self.config, self.model, exist_ok=True)
        # By class name: peft takes a mapping of the model type for one of adapters, too.
        register_checkpoint_conversion_mapping(self.model.__name__, transforms_of(self), overwrite=True)
        self._opened.add(id(self))

    def native_name(self, name: str) -> str:
        """The native name, fused modules still in one piece."""
        return _replaced(name, self.renames)

    def to_native(self, name: str, tensor: torch.Tensor, config: Any) -> list[tuple[str, torch.Tensor]]:
        """Native (name, tensor) pairs of an original tensor; none for a left-over buffer."""
        if re.search(self.buffers, name):
            return []
        renamed = self.native_name(name)
        for fused in self.fused:
            if fused.original in renamed:
                names = [renamed.replace(fused.original, part) for part in fused.native]
                return list(zip(names, fused.split(tensor, config), strict=True))
        return [(renamed, tensor)]

    def to_original(self, name: str, pieces: Pieces, config: Any) -> torch.Tensor:
        """The original tensor called `name`, from its native pieces in the order of `to_native`."""
        renamed = self.native_name(name)
        for fused in self.fused:
            if fused.original in renamed:
                return fused.join(pieces, config)
        return pieces[0]


class OriginalConfig:
    """Mixin before a native config class: reads original keys (`translate`), and writes them again when saved.

    Attributes:
        VOCABULARY: original key of the vocabulary's size.
    """

    VOCABULARY: ClassVar[str] = "vocab_size"

    @classmethod
    def translate(cls, original: Mapping[str, Any]) -> dict[str, Any]:
        """Native config values from original ones.

        Raises:
            RequestError: a value asks for something that the native class does not compute.
        """
        raise NotImplementedError

    @classmethod
    def from_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """The config of an original config.json."""
        original = copy.deepcopy(dict(config_dict))
        values = {key: original[key] for key in COMMON if original.get(key) is not None} | cls.translate(
            copy.deepcopy(original)
        )
        answer = super().from_dict(values, **kwargs)  # type: ignore[misc]
        config = answer[0] if isinstance(answer, tuple) else answer
        config._original = original
        return answer

    def to_dict(self) -> dict[str, Any]:
        """Native values, which is what trainers and estimates read."""
        values: dict[str, Any] = super().to_dict()  # type: ignore[misc]
        values.pop("_original", None)
        return values

    def to_diff_dict(self) -> dict[str, Any]:
        """What config.json gets: the original keys, with what has changed since."""
        values: dict[str, Any] = super().to_diff_dict()  # type: ignore[misc]
        original = getattr(self, "_original", None)
        if original is None:
            return values
        written = {key: value for key, value in original.items() if key not in NOT_WRITTEN}
        written |= {key: values[key] for key in ("quantization_config", "transformers_version") if key in values}
        if values.get("dtype"):
            written["torch_dtype"] = values["dtype"]
        if values.get("vocab_size", 0) > int(original.get(self.VOCABULARY, 0)):
            written[self.VOCABULARY] = values["vocab_size"]
        return written


COMMON = (
    "architectures", "bos_token_id", "eos_token_id", "pad_token_id", "torch_dtype", "dtype", "use_cache",
    "initializer_range", "quantization_config",
)  # fmt: skip
"""Config keys that mean the same in every layout."""

NOT_WRITTEN = frozenset({"auto_map", "_name_or_path", "_commit_hash"})
"""Keys that say where a config was read from."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Splits a fused tensor along its first axis into parts whose sizes the config tells, and joins them.

    Attributes:
        sizes: `sizes(config)`: rows of each part.
        order: the native order as indices into the original parts.
    """

    sizes: Callable[[Any], Sequence[int]]
    order: tuple[int, ...] = field(default=())

    def split(self, tensor: torch.Tensor, config: Any) -> Pieces:
        """The native parts, each with memory of its own."""
        parts = tensor.split(list(self.sizes(config)), dim=0)
        return [parts[i].clone() for i in self.order or range(len(parts))]

    def join(self, tensors: Pieces, config: Any) -> torch.Tensor:
        """The original tensor."""
        import torch

        order = self.order or tuple(range(len(tensors)))
        return torch.cat([tensors[order.index(i)] for i in range(len(tensors))], dim=0)


def query_key_value(config: Any) -> tuple[int, int, int]:
    """Rows of queries, keys and values of an attention whose key heads may be fewer than its query heads."""
    keys = config.num_key_value_heads * config.head_dim
    return config.num_attention_heads * config.head_dim, keys, keys


def open_layout(family: ModelFamily | None) -> Layout | None:
    """The registered layout of a family; `None` when transformers reads its checkpoints itself.

    Raises:
        RequestError: an installed package is outside of what the family was tested with.
    """
    if family is None:
        return None
    problems = requirement_problems(family.requires)
    if problems:
        raise RequestError(
            f"models of family {family.name!r} cannot be loaded with the installed packages", why="; ".join(problems),
            fix="install what it asks for, in an environment of its own if another family needs other versions",
        )  # fmt: skip
    if not family.layout:
        return None
    layout: Layout = load_ref(family.layout)()
    layout.register()
    return layout


def _replaced(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    for old, new in pairs:
        if old.startswith("^"):
            if name.startswith(old[1:]):
                name = new.removeprefix("^") + name[len(old) - 1 :]
        else:
            name = name.replace(old, new)
    return name

"""What turns records into token rows: the encoder protocol, and the contexts in which encoders are built.

Encoders live in stage plugins or are the shared ones of this room; the pipeline (`data.pipeline`) calls them in
batches, counts what they return and writes the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from plugtune.data.records import Record, RowError

if TYPE_CHECKING:
    from plugtune.options.groups import DataOptions
    from plugtune.templating.api import TemplateOnTokenizer


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One row of token columns (`input_ids`, `labels`, …) and how many tokens a length limit took from it.

    Attributes:
        size: tokens and trained tokens of the row; needed where the columns are not `input_ids` and `labels`.
    """

    columns: Mapping[str, list[int]]
    cut_tokens: int = 0
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row that a policy left out (too long, nothing left to train on): the reason goes into the data report."""

    reason: str


EncodeOutcome = list[EncodedRow] | Dropped | RowError
"""What one record becomes: its rows (several when it was split), a counted drop, or a row that is wrong."""


@dataclass(frozen=True, slots=True)
class EncoderContext:
    """What an encoder may use.

    Attributes:
        tokenizer: the run's tokenizer (`transformers.PreTrainedTokenizerBase`).
        template: the template on that tokenizer; `None` for stages that read documents.
        data: the data options.
        stage_options: the stage's own options object, or `None`.
        training: whether the rows are for training (packing and shuffling apply) or for evaluation.
    """

    tokenizer: Any
    template: TemplateOnTokenizer | None
    data: DataOptions
    stage_options: Any = None
    training: bool = True


class Encoder(Protocol):
    """Records → token rows.

    An encoder, or the template that it has as `template`, may have a method `expect_many()`: it is called before worker
    processes are started for a large data set.

    Attributes:
        fingerprint: text that changes whenever the same records would give other rows; part of the cache's key.
        columns: names of the integer-list columns of its rows.
    """

    fingerprint: str

    @property
    def columns(self) -> tuple[str, ...]: ...

    def encode(self, records: Sequence[Record]) -> list[EncodeOutcome]:
        """One outcome for each record, in order. Pure: the same records give the same rows in every process."""
        ...

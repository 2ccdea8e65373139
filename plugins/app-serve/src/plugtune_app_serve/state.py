"""What the server serves: one engine, the names that clients know it by, and the numbers that are kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from plugtune.inference.engine import Engine
from plugtune.inference.job import Job
from plugtune.inference.reading import AnswerReader
from plugtune.inference.sampling import Sampling
from plugtune.inference.scheduler import Scheduler

from plugtune_app_serve.errors import ApiError
from plugtune_app_serve.forced import Forms
from plugtune_app_serve.metrics import Metrics
from plugtune_app_serve.options import ServeOptions


@dataclass(slots=True)
class Served:
    """A model that is being served.

    Attributes:
        name: what clients call it; adapters have names of their own (`engine.adapters`).
        generation: settings of requests that name none.
        head: the value head of a reward model, which scores and does not chat.
    """

    engine: Engine
    scheduler: Scheduler
    options: ServeOptions
    generation: Any
    name: str
    head: Any = None
    created: int = 0
    metrics: Metrics = field(init=False)
    reader: AnswerReader = field(init=False)
    forms: Forms = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.scheduler.load)
        self.reader = AnswerReader(self.engine.template)
        self.forms = Forms(self.engine.tokenizer, self.reader, self.vocabulary, self.engine.stop_ids())

    @property
    def names(self) -> list[str]:
        """Every name that a request may give."""
        return [self.name, *self.engine.adapters]

    @property
    def vocabulary(self) -> int:
        """Rows of the embeddings."""
        return int(self.engine.model.get_input_embeddings().weight.shape[0])

    def name_of(self, asked: str | None) -> str:
        """The name to answer with."""
        return asked or self.name

    def adapter(self, asked: str | None) -> str:
        """The adapter that answers for a name.

        Raises:
            ApiError: nothing of that name is served, or it is a reward model.
        """
        if self.head is not None:
            raise ApiError(
                405, "a reward model is served here: it scores texts (/v1/score/evaluation) and does not answer"
            )
        self.check_name(asked)
        return asked if asked in self.engine.adapters and asked is not None else ""

    def check_name(self, asked: str | None) -> None:
        """Refuse a name that is not served.

        Raises:
            ApiError: nothing of that name is served.
        """
        if asked is not None and asked not in self.names:
            raise ApiError(
                404, f"The model {asked!r} does not exist; this server has {', '.join(self.names)}", param="model",
                code="model_not_found",
            )  # fmt: skip

    def jobs(
        self, prompt: list[int], sampling: Sampling, count: int | None, adapter: str, *, chat: bool = True
    ) -> list[Job]:
        """As many answers to a prompt as were asked for; a seed counts up.

        Raises:
            ApiError: too many.
        """
        count = count or 1
        if count > self.options.max_n:
            raise ApiError(400, f"n is at most {self.options.max_n} on this server", param="n")
        if len(prompt) + sampling.max_new_tokens > self.options.max_batch_tokens:
            raise ApiError(
                400, f"prompt and answer have at most {self.options.max_batch_tokens} tokens together on this server",
                param="max_tokens", code="context_length_exceeded",
            )  # fmt: skip
        seeds = [None if sampling.seed is None else sampling.seed + number for number in range(count)]
        return [self.engine.job(prompt, replace(sampling, seed=s), adapter=adapter, chat=chat) for s in seeds]

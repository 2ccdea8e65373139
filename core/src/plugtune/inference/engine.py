"""The one generation engine: chat, server, evaluation, board and prediction ask it.

Knows conversations and tokens, nothing of terminals or HTTP. Answers are computed by `inference.batch`, token by token;
`inference.scheduler` runs the same loop for many clients at once, `inference.rollout` for trainers. Beam search alone
is left to `model.generate`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugtune.data.records import Conversation
from plugtune.inference.job import Job
from plugtune.inference.pieces import Piece
from plugtune.inference.sampling import Sampling
from plugtune.options.groups import GenerationOptions

BEAM_ROWS = 8
"""Prompts that beam search computes at once."""


@dataclass(slots=True)
class Engine:
    """A model, its tokenizer and template, ready to answer.

    Attributes:
        adapters: names of further adapters that may be asked.
        main: who answers when no adapter is named: empty for the model as it is, `-` for the base without adapters.
        template: `None` for a model without a chat template: it completes texts and cannot chat.
    """

    model: Any
    tokenizer: Any
    template: Any
    adapters: tuple[str, ...] = ()
    main: str = ""

    def settings(self, options: GenerationOptions) -> dict[str, Any]:
        """Keyword arguments of `generate` for these options."""
        values: dict[str, Any] = {
            "do_sample": options.do_sample and options.temperature > 0,
            "max_new_tokens": options.max_new_tokens,
            "repetition_penalty": options.repetition_penalty,
            "num_beams": options.num_beams,
            "eos_token_id": sorted(self.stop_ids()),
            "pad_token_id": self.tokenizer.pad_token_id or 0,
            "use_cache": True,
        }
        if values["do_sample"]:
            values |= {"temperature": options.temperature, "top_p": options.top_p, "top_k": options.top_k}
        if options.num_beams > 1:
            values["length_penalty"] = options.length_penalty
        return values

    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        if self.template is not None:
            return frozenset(self.template.stop_token_ids())
        eos = self.tokenizer.eos_token_id
        return frozenset() if eos is None else frozenset({int(eos)})

    def stop_texts(self) -> tuple[str, ...]:
        """Stop words of the template that are no single token, so that they are looked for in the text."""
        vocabulary = self.tokenizer.get_vocab()
        return tuple(word for word in (self.template.stop if self.template else ()) if word and word not in vocabulary)

    def context(self) -> int:
        """Most tokens of a prompt and its answer together; 0 when the model names no bound."""
        config = self.model.config
        text = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
        return int(getattr(text, "max_position_embeddings", 0) or getattr(text, "n_positions", 0) or 0)

    def batch(self, limits: Any = None) -> Any:
        """An empty batch of this model."""
        from plugtune.inference.batch import Batch

        pad = self.tokenizer.pad_token_id
        self.model.eval()
        return Batch(self.model, 0 if pad is None else int(pad), limits)

    def job(self, prompt: Sequence[int], sampling: Sampling, *, adapter: str = "", chat: bool = True) -> Job:
        """An answer to be computed; texts that end a chat answer do not end a plain completion."""
        from plugtune.inference.batch import Row

        row = Row(list(prompt), sampling, self.stop_ids(), adapter or self.main)
        lead = getattr(self.template, "answer_lead", "") if chat else ""
        return Job.of(row, self.tokenizer, self.stop_texts() if chat else (), lead)

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Piece]]:
        """Pieces of all answers as they come. Closing the iterator ends them."""
        batch = self.batch()
        by_row = {id(job.row): job for job in jobs}
        batch.add(job.row for job in jobs)
        while batch.busy:
            for row in batch.step():
                job = by_row[id(row)]
                piece = job.advance()
                if piece is not None:
                    yield job, piece

    def answer(
        self, conversations: Sequence[Conversation], options: GenerationOptions, *, seed: int | None = None
    ) -> list[str]:
        """Answers to conversations that end with a question, computed together."""
        prompts = [self.template.encode_prompt(conversation) for conversation in conversations]
        return self.complete(prompts, options, seed=seed)

    def complete(
        self, prompts: Sequence[Sequence[int]], options: GenerationOptions, *, seed: int | None = None
    ) -> list[str]:
        """Answers to prompts in token ids; answer number n is drawn with `seed + n`."""
        if options.num_beams > 1:
            return self._beams(prompts, options, seed)
        jobs = [
            self.job(prompt, Sampling.of(options, seed=None if seed is None else seed + number))
            for number, prompt in enumerate(prompts)
        ]
        for _ in self.run(jobs):
            pass
        return [job.text for job in jobs]

    def stream(
        self, conversation: Conversation, options: GenerationOptions, *, seed: int | None = None, adapter: str = ""
    ) -> Iterator[str]:
        """An answer piece by piece, as it is generated; closing the iterator ends it."""
        prompt = self.template.encode_prompt(conversation)
        if options.num_beams > 1:
            yield from self._beams([prompt], options, seed, adapter)
            return
        job = self.job(prompt, Sampling.of(options, seed=seed), adapter=adapter)
        for _, piece in self.run([job]):
            if piece.text:
                yield piece.text

    def _beams(
        self, prompts: Sequence[Sequence[int]], options: GenerationOptions, seed: int | None = None, adapter: str = ""
    ) -> list[str]:
        """Beam search by transformers, in left-padded batches of a few prompts: beams multiply their memory."""
        import torch

        from plugtune.inference.batch import adapted

        self.model.eval()
        texts: list[str] = []
        with (
            adapted(self.model, adapter or self.main),
            torch.no_grad(),
            torch.random.fork_rng(enabled=seed is not None),
        ):
            if seed is not None:
                torch.manual_seed(seed)
            for start in range(0, len(prompts), BEAM_ROWS):
                ids, mask = self._padded(prompts[start : start + BEAM_ROWS])
                output = self.model.generate(input_ids=ids, attention_mask=mask, **self.settings(options))
                texts += [self._text(row[ids.shape[1] :].tolist(), options) for row in output]
        return texts

    def _padded(self, prompts: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """Token ids and mask of prompts, `(rows, longest)` int64 each, padded on the left."""
        import torch

        longest, pad = max(map(len, prompts)), self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts], device=self.model.device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=self.model.device)
        return ids, mask

    def _text(self, ids: list[int], options: GenerationOptions) -> str:
        job = self.job([], Sampling.of(options))
        end = next((place for place, token in enumerate(ids) if token in job.row.stop_ids), len(ids))
        job.row.ids, job.row.finish = ids[:end], "stop"
        job.advance()
        return job.text


def open_engine(model: Any, chosen: Any, host: Any, *, named: Sequence[tuple[str, str]] = ()) -> Engine:
    """An engine for model options (adapters included) and a template choice.

    Args:
        model: the model options; their adapters are stacked and answer when none is named.
        chosen: the template choice.
        host: the plugin host.
        named: further adapters that may be asked by name: (name, folder).

    Raises:
        RequestError: the model, an adapter or the template is wrong.
    """
    from plugtune.errors import RequestError

    engine = open_model(model, chosen, host, named=named)
    if engine.template is None:
        raise RequestError("the tokenizer has no chat template", where="template", fix="name one with --template")
    return engine


def open_model(model: Any, chosen: Any, host: Any, *, named: Sequence[tuple[str, str]] = ()) -> Engine:
    """Like `open_engine`, for models without a chat template too."""
    from plugtune.inference.export import open_tokenizer
    from plugtune.modeling.load import load_model
    from plugtune.modeling.locate import locate
    from plugtune.modeling.request import ModelRequest
    from plugtune.training.quiet import silence

    silence()
    located = locate(model, host.catalog)
    adapters = tuple(Path(model.adapter_folder or "") / name for name in model.adapter_name_or_path)
    _same_plugins(model, (located.folder, *adapters, *(Path(folder) for _, folder in named)), host)
    tokenizer, template = open_tokenizer(located, model, adapters, chosen, host)
    dtype = "float32" if model.infer_dtype == "auto" else model.infer_dtype
    loaded = load_model(ModelRequest(located, model, dtype), host)
    if adapters:
        from plugtune.capabilities import load_ref
        from plugtune.modeling.methods import MethodContext

        method = next(m for m in host.catalog.all("method") if m.saves_adapter)
        loaded = load_ref(method.prepare)(
            loaded, MethodContext(method.options(), model, located.family, adapters, training=False)
        )
    main = "" if not named else "default" if adapters else "-"
    loaded = _named(loaded, named)
    loaded.eval()
    return Engine(loaded, tokenizer, template, tuple(name for name, _ in named), main)


def _named(model: Any, named: Sequence[tuple[str, str]]) -> Any:
    """The model with further adapters beside the one that answers when none is named."""
    from plugtune.errors import RequestError

    for name, folder in named:
        try:
            if hasattr(model, "load_adapter") and hasattr(model, "peft_config"):
                model.load_adapter(folder, adapter_name=name)
            else:
                from peft import PeftModel

                model = PeftModel.from_pretrained(model, folder, adapter_name=name)
        except (RuntimeError, ValueError, KeyError, OSError, ImportError) as error:
            raise RequestError(
                f"adapter {name} cannot be loaded from {folder}", where="adapters", why=str(error).split("\n")[0]
            ) from error
    return model


def _same_plugins(model: Any, folders: Sequence[Path], host: Any) -> None:
    """Refuse a model whose family, method or template plugins have changed since its training, unless told to go on."""
    from plugtune.training.provenance import check_model

    for note in check_model(folders, host, allowed=model.allow_plugin_change):
        print(f"note: {note}", file=sys.stderr, flush=True)

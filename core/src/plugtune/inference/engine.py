"""The one generation engine, used by chat and prediction. Knows conversations and tokens, nothing of terminals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Thread
from typing import Any

from plugtune.data.records import Conversation
from plugtune.options.groups import GenerationOptions


@dataclass(slots=True)
class Engine:
    """A model, its tokenizer and template, ready to answer."""

    model: Any
    tokenizer: Any
    template: Any

    def settings(self, options: GenerationOptions) -> dict[str, Any]:
        """Keyword arguments of `generate` for these options."""
        values: dict[str, Any] = {
            "do_sample": options.do_sample and options.temperature > 0,
            "max_new_tokens": options.max_new_tokens,
            "repetition_penalty": options.repetition_penalty,
            "num_beams": options.num_beams,
            "eos_token_id": self.template.stop_token_ids(),
            "pad_token_id": self.tokenizer.pad_token_id,
            "use_cache": True,
        }
        if values["do_sample"]:
            values |= {"temperature": options.temperature, "top_p": options.top_p, "top_k": options.top_k}
        if options.num_beams > 1:
            values["length_penalty"] = options.length_penalty
        return values

    def answer(self, conversations: Sequence[Conversation], options: GenerationOptions) -> list[str]:
        """Answers to conversations that end with a question, computed as one left-padded batch."""
        import torch

        prompts = [self.template.encode_prompt(conversation) for conversation in conversations]
        longest = max(map(len, prompts))
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=self.model.device)
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=self.model.device)
        self.model.eval()
        with torch.no_grad():
            output = self.model.generate(input_ids=ids, attention_mask=mask, **self.settings(options))
        return [self._text(row[longest:].tolist(), options) for row in output]

    def _text(self, ids: list[int], options: GenerationOptions) -> str:
        stops = set(self.template.stop_token_ids())
        end = next((i for i, token in enumerate(ids) if token in stops), len(ids))
        text = str(self.tokenizer.decode(ids[:end], skip_special_tokens=options.skip_special_tokens))
        for word in self.template.stop:
            text = text.split(word, 1)[0] if word else text
        return text

    def stream(self, conversation: Conversation, options: GenerationOptions) -> Iterator[str]:
        """An answer piece by piece, as it is generated."""
        import torch
        from transformers import TextIteratorStreamer

        streamer = TextIteratorStreamer(
            self.tokenizer, skip_prompt=True, skip_special_tokens=options.skip_special_tokens
        )
        ids = torch.tensor([self.template.encode_prompt(conversation)], device=self.model.device)
        failure: list[BaseException] = []

        def work() -> None:
            try:
                self.model.eval()
                with torch.no_grad():
                    self.model.generate(
                        input_ids=ids, attention_mask=torch.ones_like(ids), streamer=streamer, **self.settings(options)
                    )
            except BaseException as error:  # told in the caller's thread, which would wait for ever otherwise
                failure.append(error)
                streamer.end()

        thread = Thread(target=work, daemon=True)
        thread.start()
        yield from streamer
        thread.join()
        if failure:
            raise failure[0]


def open_engine(model: Any, chosen: Any, host: Any) -> Engine:
    """An engine for model options (adapters included) and a template choice.

    Raises:
        RequestError: the model, an adapter or the template is wrong.
    """
    from pathlib import Path

    from plugtune.errors import RequestError
    from plugtune.inference.export import open_tokenizer
    from plugtune.modeling.load import load_model
    from plugtune.modeling.locate import locate
    from plugtune.modeling.request import ModelRequest
    from plugtune.training.quiet import silence

    silence()
    located = locate(model, host.catalog)
    adapters = tuple(Path(model.adapter_folder or "") / name for name in model.adapter_name_or_path)
    tokenizer, template = open_tokenizer(located, model, adapters, chosen, host)
    if template is None:
        raise RequestError("the tokenizer has no chat template", where="template", fix="name one with --template")
    dtype = "float32" if model.infer_dtype == "auto" else model.infer_dtype
    loaded = load_model(ModelRequest(located, model, dtype), host)
    if adapters:
        from plugtune.capabilities import load_ref
        from plugtune.modeling.methods import MethodContext

        method = next(m for m in host.catalog.all("method") if m.saves_adapter)
        loaded = load_ref(method.prepare)(
            loaded, MethodContext(method.options(), model, located.family, adapters, training=False)
        )
    loaded.eval()
    return Engine(loaded, tokenizer, template)

"""A `ChatTemplate` on a tokenizer: token ids and masks, batched through the fast tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from plugtune.data.records import Conversation, RowError, TokenizedChat
from plugtune.data.tokenize import TextTokenizer
from plugtune.errors import RequestError
from plugtune.templating.counting import counted
from plugtune.templating.exported import exported_template
from plugtune.templating.load import digest
from plugtune.templating.model import ChatTemplate, Piece, Special, Token
from plugtune.templating.render import RenderOptions, Turn, render, segments, written
from plugtune.templating.vocabulary import vocabulary_digest


class BoundTemplate:
    """Implements `templating.api.TemplateOnTokenizer` for a template of pieces. Each piece is tokenized by itself."""

    def __init__(self, template: ChatTemplate, tokenizer: Any, options: RenderOptions | None = None) -> None:
        self.template, self.tokenizer = template, tokenizer
        self.options = options or RenderOptions()
        self.name, self.stop = template.name, template.stop
        self.digest = digest(template, self.options, vocabulary_digest(tokenizer))
        self.eos_id = self._eos_id()
        self._tokenize = _text_tokenizer(tokenizer)

    def expect_many(self) -> None:
        """Many conversations will be encoded."""
        self._tokenize.expect_many()

    def _eos_id(self) -> int:
        if self.template.replace_eos and self.template.stop:
            return self._token(self.template.stop[0])
        if self.tokenizer.eos_token_id is None:
            raise RequestError("the tokenizer has no end-of-sequence token", where=f"template {self.name!r}")
        return int(self.tokenizer.eos_token_id)

    def missing_tokens(self) -> list[str]:
        """Token pieces and stop words that are no single entry of the vocabulary."""
        pieces = (
            *self.template.prefix,
            *self.template.system,
            *self.template.user,
            *self.template.assistant,
            *self.template.tool,
        )
        names = [piece.text for piece in pieces if isinstance(piece, Token)]
        return sorted({n for n in (*names, *self.template.stop) if n not in self.tokenizer.get_vocab()})

    def _token(self, text: str) -> int:
        vocabulary = self.tokenizer.get_vocab()
        if text not in vocabulary:
            raise no_token(self.name, text)
        return int(vocabulary[text])

    @property
    def answer_lead(self) -> str:
        """Text between the end of a prompt and the answer itself, which the model writes: a line end, say."""
        first = next(iter(self.template.assistant), "")
        return first.partition("{{content}}")[0] if isinstance(first, str) else ""

    def encode(self, conversations: Sequence[Conversation]) -> list[TokenizedChat | RowError]:
        """Token ids of conversations, one call of the tokenizer for all their texts."""
        rendered: list[list[Turn] | RowError] = []
        for conversation in conversations:
            try:
                rendered.append(render(self.template, conversation, self.options))
            except RowError as error:
                rendered.append(error)
        turns = [turn for item in rendered if not isinstance(item, RowError) for turn in item]
        ids = self._ids(piece for turn in turns for part in (turn.prompt, turn.answer) for piece in part)
        tail = [self.eos_id] if self.template.eos == "once" else []
        chats = [item if isinstance(item, RowError) else self._chat(item, ids, tail) for item in rendered]
        return [counted(chat, conversation) for chat, conversation in zip(chats, conversations, strict=True)]

    def _chat(self, turns: list[Turn], ids: dict[str, list[int]], tail: list[int]) -> TokenizedChat:
        pairs = [(self._join(turn.prompt, ids), self._join(turn.answer, ids)) for turn in turns]
        return TokenizedChat(pairs, [turn.train for turn in turns], list(tail))

    def _ids(self, pieces: Iterable[Piece]) -> dict[str, list[int]]:
        texts = list(dict.fromkeys(piece for piece in pieces if isinstance(piece, str) and piece))
        return dict(zip(texts, self._tokenize(texts), strict=True)) if texts else {}

    def _join(self, pieces: Sequence[Piece], ids: dict[str, list[int]]) -> list[int]:
        result: list[int] = []
        for piece in pieces:
            if isinstance(piece, str):
                result += ids.get(piece, [])
            elif isinstance(piece, Token):
                result.append(self._token(piece.text))
            elif piece.name == "eos":
                result.append(self.eos_id)
            elif self.tokenizer.bos_token_id is not None:
                result.append(int(self.tokenizer.bos_token_id))
        return result

    def encode_prompt(self, conversation: Conversation) -> list[int]:
        """Token ids of a conversation that ends before an answer."""
        turns = render(self.template, conversation, self.options, generation=True)
        ids = self._ids(piece for turn in turns for part in (turn.prompt, turn.answer) for piece in part)
        return [token for turn in turns for part in (turn.prompt, turn.answer) for token in self._join(part, ids)]

    def stop_token_ids(self) -> list[int]:
        """End-of-sequence and the stop words that are single tokens."""
        vocabulary = self.tokenizer.get_vocab()
        return sorted({self.eos_id, *(vocabulary[word] for word in self.stop if word in vocabulary)})

    def text(self, conversation: Conversation) -> str:
        """The whole conversation as text, special tokens spelled out."""
        turns = render(self.template, conversation, self.options)
        bos, eos = self.tokenizer.bos_token or "", self.eos_text()
        return "".join(written(s.piece, bos, eos) for s in segments(self.template, turns))

    def eos_text(self) -> str:
        """The end-of-sequence token as text."""
        return str(self.tokenizer.convert_ids_to_tokens(self.eos_id))

    def chat_template(self) -> str:
        """A Jinja chat template that gives the same ids: the tokenizer's own if it does, else one made from the pieces.

        Raises:
            RequestError: neither does; names the first difference.
        """
        return exported_template(self).jinja

    def chat_template_note(self) -> str:
        """What `chat_template` cannot do although the template can; empty when it is equal in everything."""
        return exported_template(self).note


def _text_tokenizer(tokenizer: Any) -> TextTokenizer:
    """Ids of pieces, which are tokenized as they are: no special token is put around them."""
    backend = getattr(tokenizer, "backend_tokenizer", None) if getattr(tokenizer, "is_fast", False) else None

    def plain(texts: Sequence[str]) -> list[list[int]]:
        if backend is None:
            return [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        return [encoding.ids for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    return TextTokenizer(backend, plain)


def no_token(name: str, text: str) -> RequestError:
    """The error of a template whose token a tokenizer does not have."""
    return RequestError(
        f"template {name!r} needs the token {text!r}, which this tokenizer does not have", where="template",
        fix=f"choose the model's own template (auto), or add it with --add_special_tokens '{text}'",
    )  # fmt: skip


def is_special(piece: Piece) -> bool:
    """Whether a piece is one token by construction."""
    return isinstance(piece, Token | Special)

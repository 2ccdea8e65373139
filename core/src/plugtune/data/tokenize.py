"""Texts → token ids, by the tokenizer itself or by `fastokens` where that has proved to give the same ids.

Tokenizing is four fifths of preparing a data set. `fastokens` (crusoecloud/fastokens) reads the same `tokenizer.json`
and gives ids only, in a tenth of the time. It is trusted with a tokenizer after it gave the same ids on `PROBES` and on
the tokenizer's own added tokens, and every so often a text is tokenized by both for as long as it works.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from plugtune.errors import RunError

PLAIN = "PLUGTUNE_PLAIN_TOKENIZER"
"""Environment variable: with any value, only the tokenizer itself is used."""
MANY = 2_000_000
"""Characters from which reading a vocabulary a second time (a third of a second for 50,000 words) pays for itself."""
EVERY = 128
"""Of so many texts one is tokenized by both."""
LONGEST = 16_000
"""Characters of the longest text given to fastokens, which cuts texts of 64 kB and more among threads."""

PROBES: tuple[str, ...] = (
    "Hello, world! It's 12:45; don't you'll WE'VE I'd  two  spaces   three\tTabs\t\t end ",
    " leading\n\nlines\r\n\r\n  indented\n\tdeeper\n   \n trailing   \n",
    "def f(x_1: int) -> dict[str, float]:\n    return {'a': 3.14e-10, \"b\": x_1 ** 2}  # 100%\n",
    "你好，世界！请介绍一下“大模型”。１２３　全角ＡＢＣ", "日本語のテキスト、カタカナ。한국어 문장입니다.",
    "Привет, мир — «кавычки» № 5½", "Ἀρχή ﬁne naïve café cafe\u0301 İstanbul ſtraße ǅ",
    "العربية ١٢٣ עברית हिन्दी ไทย ქართული", "🙂🚀 👩‍👩‍👧‍👦 🇩🇪 ❤️ x²₃ⅷ ①",
    "\u00a0nbsp\u2003em\u200bzero\u2028line\u3000wide\ufeffmark",
    "https://example.org/a_b?c=d&e=%20#f user@host.tld /usr/lib/x.so -- ++ == != <= >> && ||",
    "<b>bold</b> &amp; <!-- -->",
    "a" * 64, " " * 70 + "x", "\n" * 40, "1234567890" * 7, "A", " ",
)  # fmt: skip
"""Languages, spaces, line ends, digits, contractions, code, joined emoji: what pre-tokenizers treat differently."""


class TextTokenizer:
    """Token ids of texts.

    Args:
        backend: the tokenizer's `tokenizers.Tokenizer`, or `None` when it has none.
        plain: texts → ids by the tokenizer itself; the truth.
        special: whether `plain` adds special tokens.
    """

    def __init__(
        self, backend: Any, plain: Callable[[Sequence[str]], list[list[int]]], *, special: bool = False
    ) -> None:
        self._backend, self._plain, self._special = backend, plain, special
        self._fast: Any = None
        self._seen, self._unchecked, self._asked = 0, 0, backend is None or bool(os.environ.get(PLAIN))

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, in order.

        Raises:
            RunError: fastokens was trusted with this tokenizer and gave other ids for a text that was compared.
        """
        if not texts:
            return []  # which tokenizers of transformers cannot take
        if not self._asked:
            self._seen += sum(map(len, texts))
            if self._seen > MANY:
                self.expect_many()
        if self._fast is None:
            return self._plain(texts)
        long = {index for index, text in enumerate(texts) if len(text) > LONGEST}
        if long:
            others = iter(self([text for text in texts if len(text) <= LONGEST]))
            wholes = iter(self._plain([texts[index] for index in sorted(long)]))
            return [next(wholes) if index in long else next(others) for index in range(len(texts))]
        try:
            ids = _flat(self._fast, texts, self._special)
        except ValueError:  # a character without a token: the tokenizer itself has its own way with it
            return self._plain(texts)
        self._check(texts, ids)
        return ids

    def _check(self, texts: Sequence[str], ids: list[list[int]]) -> None:
        self._unchecked += len(texts)
        if self._unchecked < EVERY:
            return
        self._unchecked = 0
        if ids[-1] != self._plain(texts[-1:])[0]:
            raise RunError(
                f"fastokens and the tokenizer give different token ids for {texts[-1][:80]!r}",
                why="fastokens is used because it gave the same ids on trial", fix=f"set {PLAIN}=1 and start again",
            )  # fmt: skip

    def expect_many(self) -> None:
        """Many texts will come: have fastokens ready, if it is installed, can read this tokenizer and passes the trial.

        Called before worker processes are forked, so that they share what was read.
        """
        if not self._asked:
            self._asked = True
            self._fast = _trusted(self._backend, self._plain, self._special)

    def __getstate__(self) -> dict[str, Any]:
        # Another process reads the vocabulary for itself.
        return {**self.__dict__, "_fast": None, "_asked": self._asked and self._fast is None, "_seen": MANY}


def _flat(fast: Any, texts: Sequence[str], special: bool) -> list[list[int]]:
    data, bounds = fast.encode_batch_flat(list(texts), add_special_tokens=special)
    ids, ends = array("I", data).tolist(), array("Q", bounds)
    return [ids[start:end] for start, end in pairwise(ends)]


def _trusted(backend: Any, plain: Callable[[Sequence[str]], list[list[int]]], special: bool) -> Any:
    """The tokenizer as fastokens reads it, or `None`: not installed, not readable, or other ids on trial."""
    try:
        from fastokens import Tokenizer
    except ImportError:
        return None
    # Worker processes share the cores; threads of its own would fight over them, and do not survive a fork.
    os.environ.setdefault("FASTOKENS_BPE_THREADS", "1")
    added = [token.content for token in backend.get_added_tokens_decoder().values()]
    trial = [*PROBES, *(f"a {token}b {token} \n{token}" for token in added)]
    try:
        fast = Tokenizer.from_json_str(backend.to_str())
        fast.no_truncation()
        fast.no_padding()
        for text, truth in zip(trial, plain(trial), strict=True):
            try:
                same = _flat(fast, [text], special) == [truth]
            except ValueError:
                continue  # such a text is left to the tokenizer itself later, too
            if not same:
                return None
    except Exception:  # whatever a foreign library says of a tokenizer that it cannot read
        return None
    return fast

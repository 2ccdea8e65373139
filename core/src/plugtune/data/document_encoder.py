"""Documents → token rows for pre-training: text and end-of-sequence, joined into blocks or one row each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import cast

from plugtune.data.encoding import Dropped, EncodedRow, EncodeOutcome, EncoderContext
from plugtune.data.records import Document, Record, RowError
from plugtune.data.tokenize import TextTokenizer


class DocumentEncoder:
    """Rows `input_ids`, `labels` (the same ids: everything is trained on).

    With packing (the default here) the documents of a batch are joined and cut into blocks of `cutoff_len` tokens, the
    rest of a batch that fills no block being left out, as LLaMA-Factory does; what is left out is counted as cut.
    """

    columns = ("input_ids", "labels")

    def __init__(self, context: EncoderContext) -> None:
        self.tokenizer = context.tokenizer
        self.cutoff = context.data.cutoff_len
        self.policy = context.data.long_rows
        self.packing = context.data.packing is not False
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        vocabulary = backend.to_str() if backend is not None else repr(sorted(self.tokenizer.get_vocab().items()))
        import hashlib

        digest = hashlib.sha256(vocabulary.encode()).hexdigest()
        fast = backend if getattr(self.tokenizer, "is_fast", False) else None
        self._tokenize = TextTokenizer(fast, self._plain, special=True)
        self.fingerprint = f"document 1 {digest} {self.cutoff} {self.policy} {self.packing}"

    def expect_many(self) -> None:
        """Many documents will be encoded."""
        self._tokenize.expect_many()

    def _plain(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=True)["input_ids"]
        return ids

    def encode(self, records: Sequence[Record]) -> list[EncodeOutcome]:
        """One outcome for each document; with packing the blocks of a batch stand at its last document."""
        eos = self.tokenizer.eos_token or ""
        texts = [document.text + eos for document in cast("Sequence[Document]", records)]
        rows = self._tokenize(texts) if texts else []
        if not self.packing:
            return [self._alone(ids) for ids in rows]
        joined = list(chain.from_iterable(rows))
        whole = len(joined) // self.cutoff * self.cutoff if len(joined) >= self.cutoff else len(joined)
        blocks = [joined[i : i + self.cutoff] for i in range(0, whole, self.cutoff)]
        outcomes: list[EncodeOutcome] = [[] for _ in rows]
        if blocks:
            rows_out = [EncodedRow({"input_ids": b, "labels": list(b)}) for b in blocks]
            rows_out[-1] = EncodedRow(rows_out[-1].columns, cut_tokens=len(joined) - whole)
            outcomes[-1] = rows_out
        return outcomes

    def _alone(self, ids: list[int]) -> EncodeOutcome:
        if len(ids) <= self.cutoff:
            return [EncodedRow({"input_ids": ids, "labels": list(ids)})] if len(ids) > 1 else Dropped("a single token")
        if self.policy == "drop":
            return Dropped(f"longer than cutoff_len {self.cutoff} (long_rows: drop)")
        if self.policy == "error":
            return RowError(
                f"the document has {len(ids)} tokens and cutoff_len is {self.cutoff}", fix="raise cutoff_len"
            )
        if self.policy == "split":
            parts = [ids[i : i + self.cutoff] for i in range(0, len(ids), self.cutoff)]
            return [EncodedRow({"input_ids": p, "labels": list(p)}) for p in parts if len(p) > 1]
        kept = ids[: self.cutoff]
        return [EncodedRow({"input_ids": kept, "labels": list(kept)}, cut_tokens=len(ids) - len(kept))]

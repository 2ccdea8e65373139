"""A tokenizer over SentencePiece itself, for vocabularies that no fast tokenizer reproduces."""

from __future__ import annotations

from transformers.tokenization_utils_sentencepiece import SentencePieceBackend


class PiecesTokenizer(SentencePieceBackend):
    """The library's SentencePiece tokenizer, with bytes and spaces decoded by SentencePiece."""

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Text of pieces; special tokens stand as they are."""
        text, run = "", []  # type: str, list[str]
        for token in tokens:
            if token in self._added_tokens_encoder:
                text += self.sp_model.decode(run) + token
                run = []
            else:
                run.append(token)
        return text + str(self.sp_model.decode(run))

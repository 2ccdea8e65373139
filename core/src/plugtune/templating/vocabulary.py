"""What identifies a tokenizer: a digest over its vocabulary, merges, added tokens and chat template."""

from __future__ import annotations

import hashlib
from typing import Any


def vocabulary_digest(tokenizer: Any) -> str:
    """Hex SHA-256; the same for the same tokenizer on every machine."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    body = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    special = (tokenizer.bos_token, tokenizer.eos_token)
    return hashlib.sha256(f"{body}\0{special}".encode()).hexdigest()

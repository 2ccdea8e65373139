"""ChatGLM3's and ChatGLM2's tokenizer from `tokenizer.model`.

The special tokens follow the SentencePiece vocabulary in a fixed order and texts get `[gMASK] sop` in front
(tokenization_chatglm.py of the published checkpoints). `sop` and `eop` are found in texts only as whole words; roles
written in a text are special tokens here, which the original leaves as text (`--split_special_tokens` does so, too).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

MASKS = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")
ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")


def load(folder: Path) -> Any:
    """The tokenizer; `None` where a converted one is stored already."""
    from plugtune.modeling.sentencepieces import Recipe, load_pieces

    if (folder / "tokenizer.json").is_file() or not (folder / "tokenizer.model").is_file():
        return None
    recipe = Recipe(added=(*MASKS, *ROLES), words=("sop", "eop"), prefix=("[gMASK]", "sop"), pad="<unk>")
    return load_pieces(folder / "tokenizer.model", recipe)

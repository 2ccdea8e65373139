"""BLEU-4 and ROUGE of answers against references, counted as LLaMA-Factory counts them.

Texts are cut into words by jieba, Chinese and others alike; BLEU-4 is nltk's sentence BLEU over characters with
smoothing 3 (Papineni et al. 2002; Chen and Cherry 2014), ROUGE-1, -2 and -L are the F measures of rouge-chinese
(Lin 2004). All are means over the answers, in per cent. The libraries are the extra `plugtune[metrics]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

LIBRARIES = {"jieba": "jieba", "nltk": "nltk", "rouge_chinese": "rouge-chinese"}
"""Import name → distribution."""

NAMES = ("bleu-4", "rouge-1", "rouge-2", "rouge-l")


def missing_libraries() -> list[str]:
    """Distributions that scoring needs and that are not installed."""
    return [name for module, name in LIBRARIES.items() if find_spec(module) is None]


def score_texts(answers: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean `bleu-4`, `rouge-1`, `rouge-2` and `rouge-l` in per cent, rounded to four places.

    Raises:
        ImportError: a library is missing.
    """
    if not answers:
        return dict.fromkeys(NAMES, 0.0)
    rows = [score_text(answer, reference) for answer, reference in zip(answers, references, strict=True)]
    return {name: round(sum(row[name] for row in rows) / len(rows), 4) for name in NAMES}


def score_text(answer: str, reference: str) -> dict[str, float]:
    """The four scores of one answer, in per cent."""
    import logging

    import jieba
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_chinese import Rouge

    jieba.setLogLevel(logging.WARNING)
    words, wanted = list(jieba.cut(answer)), list(jieba.cut(reference))
    scores = dict.fromkeys(NAMES, 0.0)
    if " ".join(words).split() and " ".join(wanted).split():
        rouge = Rouge().get_scores(" ".join(words), " ".join(wanted))[0]
        scores |= {name: rouge[name]["f"] * 100 for name in NAMES[1:]}
    smooth = SmoothingFunction().method3
    scores["bleu-4"] = float(sentence_bleu([list(reference)], list(answer), smoothing_function=smooth)) * 100
    return scores

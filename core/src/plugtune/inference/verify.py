"""`--verify`: an export is opened again and asked what the trained model is asked; prompts must be equal in tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plugtune.capabilities import Exporter, load_ref
from plugtune.data.records import Conversation, Message, RowError
from plugtune.errors import RunError

if TYPE_CHECKING:
    from plugtune.inference.export import ExportContext, ExportReport

ANSWER = 24
"""Tokens of each greedy answer that are compared."""

CONVERSATIONS = (
    Conversation((Message("user", "Who are you?"),)),
    Conversation((Message("system", "You are brief."), Message("user", "Name three colours."))),
    Conversation(
        (
            Message("user", "Say hello."),
            Message("assistant", "Hello!"),
            Message("user", "\u4f60\u597d\uff0c\u518d\u8bf4\u4e00\u904d\u3002 \U0001f600"),
        )
    ),
    Conversation((Message("user", "  Keep   my spaces,\nand lines.\n"),)),
)
TEXTS = ("The capital of France is", "Once upon a time", "def add(a, b):")
"""What is asked of a model without a chat template."""


def verify(context: ExportContext, exporter: Exporter, report: ExportReport) -> dict[str, Any]:
    """How the export and the trained model compare: prompts in tokens, greedy answers, largest difference of logits.

    Raises:
        RunError: a prompt differs, so the export would be asked otherwise than it was trained.
    """
    import gc

    from plugtune.inference.export import TemplateChoice
    from plugtune.options.groups import ModelOptions

    trained = context.model_options
    named = context.template is not None and context.template.name != "auto"
    before = _ask(context, trained, TemplateChoice(template=context.template.name if named else "auto"))
    gc.collect()
    options = load_ref(exporter.reopen)(context, report) if exporter.reopen else ModelOptions(
        model_name_or_path=str(report.folder), infer_dtype=trained.infer_dtype
    )  # fmt: skip
    after = _ask(context, options, TemplateChoice())
    equal = [a["prompt"] == b["prompt"] for a, b in zip(before, after, strict=True)]
    same = [a["answer"] == b["answer"] for a, b in zip(before, after, strict=True)]
    agree = [_agreement(a["answer"], b["answer"]) for a, b in zip(before, after, strict=True)]
    if not all(equal):
        number = equal.index(False)
        raise RunError(
            f"the export reads prompt {number + 1} otherwise than the trained model", where=str(report.folder),
            why=f"{before[number]['prompt'][:12]} \u2026 against {after[number]['prompt'][:12]} \u2026",
            fix="the files are written, and should not be used with this chat template",
        )  # fmt: skip
    difference = max(
        abs(x - y) for a, b in zip(before, after, strict=True) for x, y in zip(a["logits"], b["logits"], strict=True)
    )
    verdict = (
        f"{len(equal)} of {len(equal)} prompts equal token by token; {sum(same)} of {len(same)} greedy answers equal, "
        f"{sum(agree) / len(agree):.0%} of their tokens before the first difference; "
        f"largest difference of first logits {difference:.2g}"
    )
    return {
        "prompts": len(equal), "prompts_equal": sum(equal), "answers_equal": sum(same),
        "answer_tokens_equal": sum(agree) / len(agree), "largest_logit_difference": difference, "verdict": verdict,
    }  # fmt: skip


def _agreement(one: list[int], two: list[int]) -> float:
    """Share of an answer that comes before the first difference."""
    length = max(len(one), len(two))
    return next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two))) / max(
        length, 1
    )


def _ask(context: ExportContext, options: Any, choice: Any) -> list[dict[str, Any]]:
    """Prompt, greedy answer and first logits of each question, in plain lists: the model is let go before the next."""
    import torch

    from plugtune.inference.engine import open_model
    from plugtune.inference.sampling import Sampling

    engine = open_model(options, choice, context.host)
    prompts = []
    for talk in CONVERSATIONS if context.template is not None and engine.template is not None else ():
        try:
            prompts.append(engine.template.encode_prompt(talk))
        except RowError:  # a template without a system message, say: both refuse, or the counts differ below
            prompts.append([])
    prompts = [p for p in prompts if p] or [list(engine.tokenizer(text)["input_ids"]) for text in TEXTS]
    jobs = [engine.job(prompt, Sampling(max_new_tokens=ANSWER)) for prompt in prompts]
    for _ in engine.run(jobs):
        pass
    answers = []
    with torch.no_grad():
        for prompt, job in zip(prompts, jobs, strict=True):
            ids = torch.tensor([prompt], device=engine.model.device)
            logits = engine.model(input_ids=ids, use_cache=False).logits[0, -1].float().tolist()
            answers.append({"prompt": list(prompt), "answer": list(job.row.ids), "logits": logits})
    return answers

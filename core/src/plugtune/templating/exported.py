"""Which Jinja chat template goes with a model that was trained with a template of pieces, and how far it is proven."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from plugtune.errors import RequestError
from plugtune.templating.jinja import to_jinja
from plugtune.templating.verify import PLAIN, Difference, first_difference, probes_of

if TYPE_CHECKING:
    from plugtune.templating.bound import BoundTemplate


@dataclass(frozen=True, slots=True)
class ExportedTemplate:
    """A chat template to store with a tokenizer.

    Attributes:
        jinja: its text.
        source: whether it is the tokenizer's own or made from the template's pieces.
        proven: kinds of conversation that were compared token by token with training.
        note: what the user must know when that is not everything; empty otherwise.
    """

    jinja: str
    source: Literal["tokenizer", "pieces"]
    proven: tuple[str, ...]
    note: str = ""


def exported_template(bound: BoundTemplate) -> ExportedTemplate:
    """The tokenizer's own chat template if it gives the ids of training on every probe, else one made from the pieces.

    When only plain chat can be proven, the made one refuses tools, and the note says so.

    Raises:
        RequestError: not even plain chat can be; names the first difference.
    """
    kinds = tuple(probes_of(bound))
    own = getattr(bound.tokenizer, "chat_template", None)
    if isinstance(own, str) and first_difference(bound, own) is None:
        return ExportedTemplate(own, "tokenizer", kinds)
    made = _made(bound, with_tools=True)
    difference = first_difference(bound, made)
    if difference is None:
        return ExportedTemplate(made, "pieces", kinds)
    plain_only = _made(bound, with_tools=False)
    without_tools = {kind: probes for kind, probes in probes_of(bound).items() if "tools" not in kind}
    left = first_difference(bound, plain_only, without_tools)
    if left is not None:
        raise RequestError(
            f"no Jinja chat template gives the token ids of template {bound.name!r} with this tokenizer",
            where="template", why=str(left), fix=f"use a template whose {_bounded(left)} bounded by special tokens",
        )  # fmt: skip
    return ExportedTemplate(plain_only, "pieces", tuple(without_tools), _note(bound, difference))


def store_template(template: Any, tokenizer: Any) -> str:
    """Put a template's Jinja on a tokenizer that is about to be saved; returns what the user must know.

    Where no Jinja gives the ids of training, none is stored: a missing chat template is asked for, a wrong one is not.
    """
    try:
        tokenizer.chat_template = template.chat_template()
    except RequestError as error:
        tokenizer.chat_template = None
        (problem, *_) = error.problems
        return (
            f"{problem.what}, so none is stored ({problem.why}); name --template {template.name} when the model is used"
        )
    return str(template.chat_template_note())


def _made(bound: BoundTemplate, *, with_tools: bool) -> str:
    return to_jinja(bound.template, bound.options, bound.tokenizer, bound.eos_text(), with_tools=with_tools)


def _bounded(difference: Difference) -> str:
    return "pieces are" if difference.kind == PLAIN else f"pieces (and {difference.kind}) are"


def _note(bound: BoundTemplate, difference: Difference) -> str:
    return (
        f"the stored chat template writes plain chat only and refuses tools: "
        f"no Jinja gives the token ids of template {bound.name!r} for them ({difference})"
    )

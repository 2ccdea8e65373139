"""What `plugtune template check` finds out: examples, missing tokens, the tokenizer's own template, masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from plugtune.data.records import Conversation, RowError
from plugtune.errors import RequestError
from plugtune.templating.api import TemplateOnTokenizer
from plugtune.templating.bound import BoundTemplate
from plugtune.templating.examples import failures
from plugtune.templating.exported import exported_template
from plugtune.templating.model import ChatTemplate
from plugtune.templating.render import RenderOptions
from plugtune.templating.verify import PLAIN, PROBES, TOOL_PROBES, first_difference, probes_of

EQUAL, NONE = "equal", "it has no chat template"


@dataclass(slots=True)
class CheckReport:
    """The findings; `ok` decides the exit status.

    Attributes:
        values: the findings by name.
        texts: the same as lines.
    """

    ok: bool = True
    values: dict[str, Any] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        return self.texts

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {**self.values, "ok": self.ok}


def check_named(template: ChatTemplate, options: RenderOptions, tokenizer: Any | None) -> CheckReport:
    """A template of pieces against its examples and, given a tokenizer, against that one's own chat template."""
    wrong = failures(template)
    report = CheckReport(not wrong)
    report.values = {"template": template.name, "examples": len(template.examples), "failures": wrong}
    report.texts = [f"template {template.name}: {len(template.examples)} examples, {len(wrong)} wrong"]
    report.texts += [f"  {text}" for text in wrong]
    if tokenizer is not None:
        _compare(report, BoundTemplate(template, tokenizer, options))
    return report


def _compare(report: CheckReport, bound: BoundTemplate) -> None:
    missing = bound.missing_tokens()
    own = bound.tokenizer.chat_template
    kinds = {
        kind: str(first_difference(bound, own, {kind: probes}) or EQUAL) if isinstance(own, str) else NONE
        for kind, probes in probes_of(bound).items()
    }
    report.ok = report.ok and kinds[PLAIN] in (EQUAL, NONE)
    report.values |= {"missing_tokens": missing, "tokenizer": kinds[PLAIN], "kinds": kinds}
    if missing:
        report.texts.append(f"the tokenizer splits {', '.join(missing)}")
    same = (EQUAL, NONE)
    texts = (f"{kind}: {found}" if found in same else found for kind, found in kinds.items())
    report.texts += [f"against the tokenizer's own template, {text}" for text in texts]
    try:
        exported = exported_template(bound)
    except RequestError as error:
        report.values["stored"] = {"error": str(error)}
        report.texts.append(f"stored with a model: none, {error}")
        return
    report.values["stored"] = {"source": exported.source, "proven": list(exported.proven), "note": exported.note}
    source = "the tokenizer's own" if exported.source == "tokenizer" else "one made from the pieces"
    report.texts.append(f"stored with a model: {source}, equal to training for {', '.join(exported.proven)}")
    if exported.note:
        report.texts.append(f"  {exported.note}")


def check_auto(bound: TemplateOnTokenizer) -> CheckReport:
    """Whether a tokenizer's own chat template shows where answers are; plain chat must, tools are told."""
    plain, tools = _found(bound, PROBES), _found(bound, TOOL_PROBES)
    report = CheckReport(not plain)
    report.values = {"template": bound.name, "failures": plain, "tools": tools}
    report.texts = [f"template {bound.name}: {len(PROBES)} plain chats, {len(plain)} with answers not trained on"]
    report.texts += [f"  {text}" for text in plain]
    report.texts.append(f"with tools: {len(TOOL_PROBES)} chats, {len(tools)} with answers not trained on")
    report.texts += [f"  {text}" for text in tools]
    return report


def _found(bound: TemplateOnTokenizer, probes: Sequence[Conversation]) -> list[str]:
    wrong: list[str] = []
    for number, chat in enumerate(bound.encode(probes), 1):
        if isinstance(chat, RowError):
            wrong.append(f"probe {number}: {chat}")
        elif chat.unlearnable:
            wrong.append(f"probe {number}: {chat.unlearnable} answers cannot be trained on")
    return wrong

"""What was found when templates were compared: general reasons, reasons by template, and the page."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

REASONS = Path(__file__).resolve().parent / "compare_templates.tsv"
"""template, where (kinds of rows, or `stop`, separated by commas), theirs, ours and why."""


class Difference(NamedTuple):
    """One thing that is not the same in one row: the kind of row, the mode, the row, what differs, both texts."""

    kind: str
    mode: str
    row: str
    aspect: str
    ours: str
    theirs: str


@dataclass(slots=True)
class Finding:
    """What one template gave against one version.

    Attributes:
        strips: answers to earlier questions lose their thoughts.
        once: the end of sequence stands behind the last answer only.
        rows, same: rows compared, and those equal in ids, labels and prompt.
    """

    name: str
    version: str
    strips: bool = False
    once: bool = False
    rows: int = 0
    same: int = 0
    differences: list[Difference] = field(default_factory=list)


General = Callable[[Finding, Difference], bool]
GENERAL: dict[str, General] = {
    """**Thoughts of earlier answers.** Without `--mask_history` LLaMA-Factory keeps every answer's thoughts and adds
  empty ones where there are none; the vendors' own chat templates, and plugtune, take them away from all but the last
  answer, with or without the flag. The same rows are compared with the flag, too.""": lambda finding, difference: (
        finding.strips and not difference.mode and difference.aspect == "ids"
    ),
    """**The end of sequence of earlier answers under `--mask_history`**, in templates that write one behind the last
  answer only: LLaMA-Factory still trains the first token of earlier questions on it; here earlier answers are context
  throughout, as the flag says.""": lambda finding, difference: (
        finding.once and difference.mode != "" and difference.aspect == "labels"
    ),
    """**`{{idx}}` in a question** is replaced by the number of the round there; here texts of rows stay as they
  are.""": lambda finding, difference: difference.row == "a counter's name",
}


def explain(findings: list[Finding], *, complete: bool) -> tuple[dict[str, list[list[str]]], list[str]]:
    """The reasons by template, and a line for each difference without one; `complete`: also for reasons without use."""
    reasons: dict[str, list[list[str]]] = {}
    with REASONS.open(encoding="utf-8") as file:
        for name, where, theirs, ours in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            reasons.setdefault(name, []).append([where, theirs, ours])
    left, used = [], set()
    for finding in findings:
        own = {where: n for n, row in enumerate(reasons.get(finding.name, [])) for where in row[0].split(",")}
        for difference in finding.differences:
            if any(applies(finding, difference) for applies in GENERAL.values()):
                continue
            if difference.kind in own:
                used.add((finding.name, own[difference.kind]))
            else:
                left.append(f"{finding.name} against {finding.version}: {difference}")
    if complete:
        compared = {finding.name for finding in findings}
        rows = [(name, n) for name, given in reasons.items() if name in compared for n in range(len(given))]
        left += [
            f"{name}: {reasons[name][n][0]} is explained and does not differ"
            for name, n in rows
            if (name, n) not in used
        ]
    return reasons, left


HEAD = """# Templates compared with LLaMA-Factory

Written by `make compare-templates`, which runs LLaMA-Factory ({versions}) beside this tree. Both read the same rows
(`bench/compare_templates_rows.py`: rounds, systems, languages, code, spaces, tools, calls, results, thoughts) and
encode them with one tokenizer that has every special token of every template; chatglm2, chatglm3, baichuan2, intern2
and yuan with their families' kind of tokenizer, whose pieces open with a space. Compared are the token ids and, by
them, the text; the labels; the prompt of the last answer; the words that stop. Each row is encoded with and without
`--mask_history`, and for templates with thoughts with `--enable_thinking false`, too. The command fails when a kind of
row differs in a template without a reason below (`bench/compare_templates.tsv`), or no longer differs.

{equal} of {count} templates are equal in all their rows ({rows} rows of all templates), or differ only in these ways:

"""


def page(findings: list[Finding], reasons: dict[str, list[list[str]]], alone: list[str]) -> str:
    """docs/templates-compared.md."""
    equal = [finding for finding in findings if not _own(finding)]
    names = {"newer": "newer sources"}
    versions = ", ".join(names.get(v, v) for v in sorted({finding.version for finding in findings}))
    text = HEAD.format(
        versions=versions, equal=len(equal), count=len(findings), rows=f"{sum(f.rows for f in findings):,}"
    )
    text += "".join(f"- {reason}\n" for reason in GENERAL)
    text += "\nThe others differ in the named kinds of rows, as follows.\n\n"
    text += "| template | where | LLaMA-Factory | here, and why |\n"
    text += "|---|---|---|---|\n"
    for finding in findings:
        if _own(finding):
            rows = reasons.get(finding.name, [])
            text += "".join(f"| {finding.name} | {w.replace(',', ', ')} | {t} | {o} |\n" for w, t, o in rows)
    if alone:
        text += f"\nNo version that was run has {', '.join(alone)}.\n"
    text += "\n| template | compared with | rows | equal without any of the above |\n|---|---|---|---|\n"
    return text + "".join(f"| {f.name} | {f.version} | {f.rows} | {f.same} |\n" for f in findings)


def _own(finding: Finding) -> list[Difference]:
    """Differences that no general reason explains."""
    return [d for d in finding.differences if not any(applies(finding, d) for applies in GENERAL.values())]

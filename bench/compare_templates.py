"""Text, token ids, labels, prompts and stop tokens of every template against LLaMA-Factory's own code.

    python bench/compare_templates.py [NAME ...] [--source DIR] [--page] [--json FILE]

Both sides read the same rows in the sharegpt form and encode them with one tokenizer that has every special token of
every template (templates of old families: the family's own kind of tokenizer); LLaMA-Factory, in an environment of its
own, uses its converter, template and processor. A template that 0.9.5 no longer has is compared with 0.9.4, or with the
sources in DIR (`src/` of a newer checkout). Each difference must be explained in compare_templates.tsv, or the status
is 1. `--page` writes docs/templates-compared.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import compare_templates_rows as given
from compare_templates_page import Difference, Finding, explain, page
from peers import HOME, LLAMAFACTORY, environment, llamafactory
from plugtune.capabilities import load_ref
from plugtune.data.lengths import LengthRules, assemble
from plugtune.data.records import Conversation, RowError
from plugtune.plugins.host import PluginHost
from plugtune.templating.choose import bind
from plugtune.testkit import tiny
from record import ROOT

HERE = Path(__file__).resolve().parent
PAGE = ROOT / "docs" / "templates-compared.md"
OLDER = "0.9.4"
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
SAME_AS = {
    "qwen_old": ("qwen", "You are a helpful assistant."),
    "chatglm3_system": (
        "chatglm3",
        "You are ChatGLM3, a large language model trained by Zhipu.AI. Follow the user's instructions carefully. "
        "Respond using markdown.",
    ),
}
"""Templates of 0.5.3 that later versions have under another name with `--default_system`."""
OWN_TOKENIZER = {
    "chatglm2": "chatglm3", "chatglm3": "chatglm3", "chatglm3_system": "chatglm3",
    "baichuan2": "baichuan2", "intern2": "internlm2", "yuan": "yuan2",
}  # fmt: skip
"""Templates written for SentencePiece, whose pieces open with a space: the family whose kind of tokenizer counts."""
KINDS = {"plain": given.PLAIN, "tools": given.TOOLS, "thoughts": given.THOUGHTS}
MODES = {"": (False, True), "mask_history": (True, True), "enable_thinking false": (True, False)}
"""Name → (`mask_history`, `enable_thinking`)."""


class Comparison:
    """One host, one vocabulary, several versions of the peer."""

    def __init__(self, folder: Path, source: str) -> None:
        self.folder, self.host = folder, PluginHost().load()
        self.versions = {LLAMAFACTORY: "", OLDER: str(older())} | ({"newer": source} if source else {})
        self.known = {version: self.ask(version, {}) for version in self.versions}
        self.tokenizers = {"": self._every_token()}
        for family in sorted(set(OWN_TOKENIZER.values())):
            made = tiny.make(family, folder / family, host=self.host)
            own = load_ref(self.host.catalog.get("family", family).tokenizer)(made)
            own.backend_tokenizer.save(str(made / "fast.json"))
            named = {k: v for k, v in own.special_tokens_map.items() if k in SPECIAL and isinstance(v, str)}
            self.tokenizers[family] = {"tokenizer": str(made / "fast.json"), "special": named}

    def ask(self, version: str, job: dict[str, Any]) -> Any:
        """The peer's answer to a job."""
        question, answer = self.folder / "job.json", self.folder / "answer.json"
        question.write_text(json.dumps(job), encoding="utf-8")
        path = {"PYTHONPATH": self.versions[version]} if self.versions[version] else {}
        command = [llamafactory(), str(HERE / "compare_templates_peer.py"), str(question), str(answer)]
        done = subprocess.run(command, env={**environment(), **path}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"LLaMA-Factory {version}:\n{done.stderr[-3000:]}")
        return json.loads(answer.read_text(encoding="utf-8"))

    def _every_token(self) -> dict[str, Any]:
        """Byte-level BPE with merges from this tree's pages in three languages, and everyone's special tokens."""
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        ours = tiny.special_tokens(self.host.catalog.all("template"))
        theirs = [token for known in self.known.values() for tokens in known.values() for token in tokens]
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=8000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
            special_tokens=list(dict.fromkeys((*SPECIAL.values(), *ours, *theirs))),
        )  # fmt: skip
        backend.train([str(path) for path in sorted((ROOT / "docs").rglob("*.md")) if path != PAGE], trainer)
        backend.save(str(self.folder / "every.json"))
        return {"tokenizer": str(self.folder / "every.json"), "special": SPECIAL}

    def peer_of(self, name: str) -> tuple[str, str, str | None] | None:
        """(version, template, default system) to compare a template with; `None` when there is none."""
        peer, system = SAME_AS.get(name, (name, None))
        return next(((version, peer, system) for version, known in self.known.items() if peer in known), None)

    def run(self, names: list[str]) -> list[Finding]:
        """What each template that both sides know gave, by name."""
        peers = {name: found for name in names if (found := self.peer_of(name))}
        findings: list[Finding] = []
        for version in self.versions:
            parts = [p for name, peer in peers.items() if peer[0] == version for p in self.parts(name, peer)]
            if parts:
                findings += self.judge(version, parts, self.ask(version, {"templates": parts}))
        return sorted(findings, key=lambda finding: finding.name)

    def parts(self, name: str, peer: tuple[str, str, str | None]) -> list[dict[str, Any]]:
        """What is asked of the peer: the rows of each kind in each mode that the template has."""
        template = self.host.catalog.get("template", name)
        thinks = template.thinking if template.reasoning == "strip-history" else None
        kinds = [kind for kind in KINDS if kind != "thoughts" or thinks]
        return [
            {
                "name": name, "peer": peer[1], "default_system": peer[2], "kind": kind, "mode": mode,
                "mask_history": mask, "thinking": thinking, "rows": rows_of(kind, thinks),
                **self.tokenizers[OWN_TOKENIZER.get(name, "")],
            }
            for kind in kinds for mode, (mask, thinking) in MODES.items() if thinks or thinking
        ]  # fmt: skip

    def judge(self, version: str, parts: list[dict[str, Any]], answers: list[Any]) -> list[Finding]:
        """Our side of each part, held against the peer's."""
        findings: dict[str, Finding] = {}
        for part, answer in zip(parts, answers, strict=True):
            template = self.host.catalog.get("template", part["name"])
            strips = template.reasoning == "strip-history"
            found = findings.setdefault(
                part["name"], Finding(part["name"], version, strips=strips, once=template.eos == "once")
            )
            tokenizer, stop, rows = self.ours(part)
            if stop != answer["stop"]:
                texts = [" ".join(tokenizer.convert_ids_to_tokens(ids)) for ids in (stop, answer["stop"])]
                found.differences.append(Difference("stop", part["mode"], "", "stop words", *texts))
            for row, ours, theirs in zip(KINDS[part["kind"]], rows, answer["rows"], strict=True):
                unlike = [Difference(part["kind"], part["mode"], row, *u) for u in differences(tokenizer, ours, theirs)]
                found.rows += 1
                found.same += not unlike
                found.differences += unlike
        return list(findings.values())

    def ours(self, part: dict[str, Any]) -> tuple[Any, list[int], list[Any]]:
        """The tokenizer, the stop tokens, and for each row what the peer gives, too."""
        from transformers import PreTrainedTokenizerFast

        tokenizer = PreTrainedTokenizerFast(tokenizer_file=part["tokenizer"], **part["special"])
        template = bind(part["name"], self.host.catalog, tokenizer, enable_thinking=part["thinking"])
        form = self.host.catalog.get("format", "sharegpt")
        columns = {**form.columns, "system": "system", "tools": "tools"}
        read = load_ref(form.convert)(columns, form.tags, kind="conversation")
        rules = LengthRules(10**9, mask_history=part["mask_history"])
        rows: list[Any] = []
        for row in part["rows"]:
            conversation = read(row)
            (chat,) = template.encode([conversation])
            if isinstance(chat, RowError):
                rows.append(f"the row is refused: {chat}")
                continue
            made: Any = assemble(chat, rules)
            asked = Conversation(conversation.messages[:-1], conversation.tools)
            columns_of_row = made[0].columns
            rows.append([columns_of_row["input_ids"], columns_of_row["labels"], template.encode_prompt(asked)])
        return tokenizer, template.stop_token_ids(), rows


def rows_of(kind: str, thinks: tuple[str, str] | None) -> list[dict[str, Any]]:
    """Rows of a kind, with the template's words around thoughts."""
    if thinks is None:
        return list(KINDS[kind].values())
    words = [json.dumps(word)[1:-1] for word in thinks]
    text = json.dumps(list(KINDS[kind].values())).replace("<T>", words[0]).replace("</T>", words[1])
    return list(json.loads(text))


def differences(tokenizer: Any, ours: Any, theirs: Any) -> list[tuple[str, str, str]]:
    """(what differs, our text, their text) of a row; texts begin shortly before the first token that differs."""
    if isinstance(ours, str) and isinstance(theirs, str):
        return []  # neither side can write this row
    if isinstance(ours, str) or isinstance(theirs, str):
        first, second = (side if isinstance(side, str) else tokenizer.decode(side[0]) for side in (ours, theirs))
        return [("row", first, second)]
    found: list[tuple[str, str, str]] = []
    for aspect, mine, other in zip(("ids", "labels", "prompt"), ours, theirs, strict=True):
        if mine == other or (aspect == "labels" and found):
            continue
        at = next((i for i, (a, b) in enumerate(zip(mine, other, strict=False)) if a != b), min(len(mine), len(other)))
        first, second = (
            tokenizer.decode([t for t in ids[max(0, at - 6) : at + 16] if t >= 0]) for ids in (mine, other)
        )
        found.append((aspect, first, second))
    return found


def older() -> Path:
    """The files of the last version that had more templates; only the package, on the peer's libraries."""
    folder = HOME / f"llamafactory-{OLDER}"
    if not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", str(folder), f"llamafactory=={OLDER}"], check=True)
    return folder


def main() -> int:
    """0 when every difference is explained."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", help="templates; all when left out")
    parser.add_argument("--source", default="", help="src/ of another checkout of LLaMA-Factory")
    parser.add_argument("--page", action="store_true", help="write docs/templates-compared.md")
    parser.add_argument("--json", help="write every difference to a file")
    options = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(Path(folder), options.source)
        names = options.names or list(comparison.host.catalog.names("template"))
        findings = comparison.run(names)
    reasons, left = explain(findings, complete=not options.names)
    for line in left:
        print(line)
    if options.json:
        rows = [[f.name, f.version, f.rows, f.same, [list(d) for d in f.differences]] for f in findings]
        Path(options.json).write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    if options.page:
        alone = sorted(set(names) - {finding.name for finding in findings})
        PAGE.write_text(page(findings, reasons, alone), encoding="utf-8")
    print(f"{len(findings)} templates, {sum(f.rows for f in findings)} rows, {len(left)} differences unexplained")
    return 1 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())

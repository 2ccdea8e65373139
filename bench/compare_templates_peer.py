"""LLaMA-Factory's side of `compare_templates.py`; runs in its environment and imports nothing of plugtune.

    python compare_templates_peer.py JOB ANSWER

Without `templates` in the job the answer is what its templates are called and which tokens they need; with them, it is
token ids, labels, prompts and stop tokens as its own converter, template and processor make them.
"""

from __future__ import annotations

import copy
import json
import re
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from llamafactory.data import template as theirs
from llamafactory.data.converter import SharegptDatasetConverter
from llamafactory.data.mm_plugin import get_mm_plugin
from llamafactory.data.parser import DatasetAttr
from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
from transformers import PreTrainedTokenizerFast

MARK = r"<[|｜][^<>]+?[|｜]>|<[a-z]+(?:_[a-z]+)+>|</?think>"
FORMATS = ("format_user", "format_assistant", "format_system", "format_observation", "format_prefix", "format_function")


def known() -> dict[str, list[str]]:
    """The tokens of each template."""
    return {name: _tokens(template) for name, template in theirs.TEMPLATES.items()}


def _tokens(template: Any) -> list[str]:
    slots = [slot for name in FORMATS for slot in getattr(template, name).slots]
    texts = [slot for slot in slots if isinstance(slot, str)]
    named = [slot["token"] for slot in slots if isinstance(slot, dict)]
    return [*named, *(w for w in template.stop_words if w.strip() == w), *re.findall(MARK, "\n".join(texts))]


def encode(part: dict[str, Any]) -> dict[str, Any]:
    """Rows of one template: `{"stop": [...], "rows": [[ids, labels, prompt] or the error's text, ...]}`."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=part["tokenizer"], **part["special"])
    args = Namespace(
        template=part["peer"], train_on_prompt=False, tool_format=None, default_system=part["default_system"],
        enable_thinking=part["thinking"], preserve_thinking=False, mask_history=part["mask_history"], cutoff_len=10**9,
    )  # fmt: skip
    before = copy.deepcopy(theirs.TEMPLATES[part["peer"]])
    try:
        template = theirs.get_template_and_fix_tokenizer(tokenizer, args)
        # What places images in a text asks for an image processor even where there are none.
        template.mm_plugin = get_mm_plugin("base")
        rows = [_row(template, tokenizer, args, row) for row in part["rows"]]
        return {"stop": sorted(template.get_stop_token_ids(tokenizer)), "rows": rows}
    finally:
        theirs.TEMPLATES[part["peer"]] = before


def _row(template: Any, tokenizer: Any, args: Any, row: dict[str, Any]) -> Any:
    named = DatasetAttr("file", "rows", formatting="sharegpt", system="system", tools="tools")
    read = SharegptDatasetConverter(named, args)(row)
    if not read["_response"]:
        return "the row is skipped as abnormal"
    processor = SupervisedDatasetProcessor(template=template, tokenizer=tokenizer, processor=None, data_args=args)
    try:
        values = {f"{name}": read[f"_{name}"] for name in ("prompt", "response", "system", "tools")}
        ids, labels = processor._encode_data_example(**copy.deepcopy(values), images=[], videos=[], audios=[])
        asked = [*read["_prompt"], {"role": "assistant", "content": ""}]
        prompt, _ = template.encode_oneturn(tokenizer, asked, read["_system"], read["_tools"])
    except Exception as error:  # the comparison goes on and shows it
        return f"{type(error).__name__}: {error}"
    return [ids, labels, prompt]


def main() -> None:
    """Answer the job."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    parts = job.get("templates")
    answer = known() if parts is None else [encode(part) for part in parts]
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()

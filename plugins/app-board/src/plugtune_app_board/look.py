"""Rows of a data set: as they are stored, and as the model will see them, token by token. Reads; starts nothing."""

from __future__ import annotations

import dataclasses
import html
import json
from dataclasses import dataclass
from itertools import islice
from typing import Any

from plugtune.capabilities import Stage, load_ref
from plugtune.data.records import RawRow, RowError
from plugtune.data.registry import DatasetSpec, Registry
from plugtune.errors import PlugtuneError, RequestError

from plugtune_app_board.compose import Composer, Values

PAGE = 2
SHOWN_TOKENS = 2000


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows: their places, what is stored, and how many rows there are (when they were counted)."""

    rows: list[RawRow]
    number: int
    total: int | None

    @property
    def pages(self) -> int:
        """Number of pages, at least one."""
        return max(1, -(-(self.total or 0) // PAGE))

    def as_json(self) -> str:
        """The stored rows."""
        values = [dict(row.values) for row in self.rows]
        return json.dumps(values, ensure_ascii=False, indent=2, default=str)


class Preview:
    """Pages through data sets and keeps the last tokenizer, so that turning a page is quick."""

    def __init__(self, composer: Composer) -> None:
        self.composer = composer
        self._encoders: dict[Any, Any] = {}
        self._counts: dict[tuple[str, float], int] = {}

    def page(self, dataset: str, folder: str, number: int) -> Page:
        """Rows of page `number`, from 1.

        Raises:
            PlugtuneError: there is no such data set, it stands outside the board's folders, or its file is broken.
        """
        from plugtune.data.pipeline import raw_rows

        spec = self._spec(dataset, folder)
        total = self._count(spec)
        last = max(1, -(-total // PAGE)) if total is not None else number
        number = min(max(1, number), last)
        start = (number - 1) * PAGE
        return Page(list(islice(raw_rows(spec), start, start + PAGE)), number, total)

    def _spec(self, dataset: str, folder: str) -> DatasetSpec:
        roots = self.composer.settings.roots
        registry = Registry.open(self.composer.host.catalog, str(roots.inside(folder or "data", "dataset_dir")))
        if dataset not in registry.entries:
            roots.inside(dataset, "dataset")
        spec = registry.resolve(str(dataset))
        if spec.path is None:
            raise RequestError(
                f"data set {dataset} is on a hub and not on this machine", where="dataset",
                fix="training fetches it; a preview reads local files only",
            )  # fmt: skip
        roots.inside(spec.path, "dataset")
        return spec

    def _count(self, spec: DatasetSpec) -> int | None:
        from plugtune.data.pipeline import raw_rows

        assert spec.path is not None
        if spec.path.is_file() and spec.path.stat().st_size > 256 << 20:
            return None  # counting would take seconds
        key = (str(spec.path), spec.path.stat().st_mtime)
        if key not in self._counts:
            self._counts[key] = sum(1 for _ in raw_rows(spec))
        return self._counts[key]

    def seen(self, dataset: str, page: Page, values: Values) -> str:
        """The rows of a page as HTML: every token, marked where it is trained on."""
        from plugtune.data.pipeline import check_kind, converter

        stage = self.composer.known.stage(str(values.get("train.training_stage") or "sft"))
        spec = self._spec(dataset, str(values.get("train.dataset_dir") or "data"))
        check_kind(spec, stage.rows)
        convert = converter(spec, stage.rows)
        encoder, tokenizer = self._encoder(stage, values)
        blocks = []
        for raw in page.rows:
            try:
                outcome = encoder.encode([convert(raw.values)])[0]
            except RowError as error:
                outcome = error
            blocks.append(_block(raw, outcome, tokenizer))
        return "".join(blocks)

    def _encoder(self, stage: Stage, values: Values) -> tuple[Any, Any]:
        """The encoder that training would use, for the options on the page."""
        from plugtune.data.encoding import EncoderContext
        from plugtune.modeling.locate import locate
        from plugtune.modeling.tokenizer import load_tokenizer
        from plugtune.options.reader import Given, Request
        from plugtune.options.resolve import resolve
        from plugtune.templating.choose import bind
        from plugtune.training.quiet import silence

        silence()  # before the encoder's imports bring in libraries that chatter
        order = self.composer.train({**values, "train.output_dir": "preview", "train.dataset": []}, dry=True)
        from plugtune.options.groups import TRAIN_GROUPS

        groups = dict(TRAIN_GROUPS) | ({f"stage {stage.name}": stage.options} if stage.options else {})
        method = self.composer.known.method(str(order.options["finetuning_type"]))
        groups |= {f"method {method.name}": method.options} if method.options else {}
        request = Request({k: Given(v, k) for k, v in order.options.items()})
        built = resolve(request, groups, trainer=True).groups
        model, data = built["model"], built["data"]
        key = (stage.name, json.dumps([dataclasses.asdict(model), dataclasses.asdict(data)], default=str),
               str(built.get(f"stage {stage.name}")))  # fmt: skip
        if key not in self._encoders:
            located = locate(model, self.composer.host.catalog)
            tokenizer = load_tokenizer(located, model)
            template = None
            if stage.rows != "document":
                template = bind(
                    data.template, self.composer.host.catalog, tokenizer, enable_thinking=data.enable_thinking,
                    default_system=data.default_system, tool_format=data.tool_format,
                )  # fmt: skip
            context = EncoderContext(tokenizer, template, data, built.get(f"stage {stage.name}"), True)
            self._encoders = {key: (load_ref(stage.encoder)(context), tokenizer)}
        found: tuple[Any, Any] = self._encoders[key]
        return found


def _block(raw: RawRow, outcome: Any, tokenizer: Any) -> str:
    head = f"<b>#{raw.where.row}</b>"
    if not isinstance(outcome, list):
        reason = getattr(outcome, "reason", str(outcome))
        return f'<div class="pt-row">{head} <span class="pt-bad">{html.escape(reason)}</span></div>'
    parts = [f'<div class="pt-row">{head} {_columns(row.columns, tokenizer)}</div>' for row in outcome]
    return "".join(parts)


def _columns(columns: Any, tokenizer: Any) -> str:
    """Each pair `X_input_ids`, `X_labels`: one answer for conversations, two for preferences."""
    texts = []
    for name, ids in columns.items():
        if not name.endswith("input_ids"):
            continue
        prefix = name.removesuffix("input_ids")
        labels = columns.get(f"{prefix}labels", ids)
        trained = sum(label != -100 for label in labels)
        title = f"{prefix.strip('_')} " if prefix else ""
        texts.append(f'<span class="pt-count">{html.escape(title)}{len(ids)} tokens, {trained} trained on</span>')
        texts.append(f'<div class="pt-tokens">{_tokens(ids, labels, tokenizer)}</div>')
    if texts:
        return "".join(texts)
    counts = ", ".join(f"{name} {len(value)}" for name, value in columns.items() if hasattr(value, "__len__"))
    return f'<span class="pt-count">{html.escape(counts)}</span>'


def _tokens(ids: list[int], labels: list[int], tokenizer: Any) -> str:
    shown = []
    for text, count, trained in _pieces(ids[:SHOWN_TOKENS], labels, tokenizer):
        mark = "pt-on" if trained else "pt-off"
        body = html.escape(text).replace("\n", "↵\n").replace(" ", "\u00a0")
        shown.append(f'<span class="pt-t {mark}" title="{count}">{body}</span>')
    return "".join(shown) + (" …" if len(ids) > SHOWN_TOKENS else "")


def _pieces(ids: list[int], labels: list[int], tokenizer: Any) -> list[tuple[str, str, bool]]:
    """(text, ids, trained): tokens that are only part of a character are joined until it is whole."""
    pieces, held = [], []
    for token, label in zip(ids, labels, strict=False):
        held.append(token)
        text = tokenizer.decode(held)
        if text.endswith("\ufffd") and len(held) < 8:
            continue
        pieces.append((text, " ".join(map(str, held)), label != -100))
        held = []
    if held:
        pieces.append((tokenizer.decode(held), " ".join(map(str, held)), False))
    return pieces


def explain(error: Exception) -> str:
    """An error as HTML, problem by problem."""
    if isinstance(error, PlugtuneError):
        items = [f"<li>{html.escape(str(problem)).replace(chr(10), '<br>')}</li>" for problem in error.problems]
        return f'<ul class="pt-problems">{"".join(items)}</ul>'
    return f'<ul class="pt-problems"><li>{html.escape(f"{type(error).__name__}: {error}")}</li></ul>'

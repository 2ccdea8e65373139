"""Tests of a training stage: rows, options, a run that learns, the same run twice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from plugtune.capabilities import Stage, load_ref
from plugtune.options.schema import specs_of
from plugtune.testkit.base import CapabilityTests, installed, optional
from plugtune.testkit.models import tiny_folder
from plugtune.testkit.run import data_folder, losses, train


class StageTests(CapabilityTests):
    """Tests of a stage.

    Attributes:
        options: flags of the run: the stage's own options and others.
        steps: steps after which the loss must have fallen.
        model_type: architecture of the tiny model.
    """

    kind = "stage"
    options: ClassVar[Mapping[str, Any]] = {}
    steps: ClassVar[int] = 12
    model_type: ClassVar[str] = "llama"

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A tiny model folder."""
        return tiny_folder(tmp_path_factory.mktemp("model"), self.model_type)

    @pytest.fixture(scope="class")
    def data(self, item: Stage, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A data folder with rows of the stage's kind."""
        return data_folder(tmp_path_factory.mktemp("data"), item.rows)

    @pytest.fixture(scope="class")
    def run(self, item: Stage, model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder of a run."""
        output = tmp_path_factory.mktemp("run") / "out"
        train(model, data, output, self._settings(item))
        return output

    def _settings(self, item: Stage) -> dict[str, Any]:
        return {"stage": item.name, "max_steps": self.steps, **self.options}

    def test_it_learns(self, run: Path) -> None:
        found = losses(run)
        assert len(found) == self.steps, f"{len(found)} steps were logged, {self.steps} were asked for"
        assert all(math.isfinite(loss) for loss in found), f"losses {found}"
        third = max(self.steps // 3, 1)
        assert sum(found[-third:]) < sum(found[:third]), f"the loss does not fall: {found}"

    def test_the_run_says_what_it_did(self, item: Stage, run: Path) -> None:
        import json

        report = json.loads((run / "run.json").read_text(encoding="utf-8"))
        assert report["stage"] == item.name
        assert self.plugin in {plugin["name"] for plugin in report["plugins"]}
        assert list(run.glob("*.safetensors")), "the run left no weights"

    def test_the_same_run_gives_the_same_numbers(
        self, item: Stage, model: Path, data: Path, run: Path, tmp_path: Path
    ) -> None:
        train(model, data, tmp_path / "again", {**self._settings(item), "overwrite_cache": True})
        assert losses(tmp_path / "again") == losses(run)

    @optional
    def test_two_small_batches_are_one_large_one(self, item: Stage, model: Path, data: Path, tmp_path: Path) -> None:
        common = {**self._settings(item), "max_steps": 2, "disable_shuffling": True, "learning_rate": 0.0}
        train(model, data, tmp_path / "one", {**common, "per_device_train_batch_size": 8})
        train(model, data, tmp_path / "two", {**common, "gradient_accumulation_steps": 2})
        assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4), (
            "the loss is not a mean over the tokens of the whole step"
        )

    def test_a_wrong_option_is_refused_before_anything_is_loaded(
        self, item: Stage, model: Path, data: Path, tmp_path: Path
    ) -> None:
        numbers = [s for s in specs_of(item.options) if s.type in ("int", "float")] if item.options else []
        name = numbers[0].name if numbers else "learning_rate"
        done = train(model, data, tmp_path / "out", {**self._settings(item), name: "many"}, fails=True)
        assert done.returncode == 2, done.stderr
        assert name in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()

    def test_its_encoder_answers_for_every_record(self, item: Stage, data: Path) -> None:
        from plugtune.data.encoding import Dropped, EncoderContext
        from plugtune.data.pipeline import converter, raw_rows
        from plugtune.data.records import RowError
        from plugtune.data.registry import Registry
        from plugtune.options.groups import DataOptions
        from plugtune.templating.choose import bind
        from plugtune.testkit.models import tiny_tokenizer

        catalog, tokenizer = installed().catalog, tiny_tokenizer()
        spec = Registry.open(catalog, str(data)).resolve("rows")
        records = [converter(spec, item.rows)(raw.values) for raw in raw_rows(spec)]
        template = None if item.rows == "document" else bind("auto", catalog, tokenizer)
        own = item.options() if item.options else None
        encoder = load_ref(item.encoder)(EncoderContext(tokenizer, template, DataOptions(), own))
        outcomes = encoder.encode(records)
        assert len(outcomes) == len(records), "one outcome for each record"
        rows = [row for o in outcomes if not isinstance(o, Dropped | RowError) for row in o]
        assert rows, "no row is left"
        for row in rows:
            assert set(row.columns) == set(encoder.columns), "the rows have other columns than the encoder says"
            assert all(isinstance(i, int) for values in row.columns.values() for i in values)
        assert repr(encoder.encode(records)) == repr(outcomes), "the same records give other rows"
        assert encoder.fingerprint.strip()

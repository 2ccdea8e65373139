"""Tests of an exporter: what it writes loads again as the same model; all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from plugtune.capabilities import Exporter
from plugtune.testkit.base import CapabilityTests, installed, optional, plugtune
from plugtune.testkit.models import tiny_folder


class ExporterTests(CapabilityTests):
    """Tests of an exporter.

    Attributes:
        options: flags of the export, the exporter's own among them.
        model_type: architecture of the tiny model.
        tolerance: largest difference between the logits of the model and of what was written.
    """

    kind = "exporter"
    options: ClassVar[Mapping[str, Any]] = {}
    model_type: ClassVar[str] = "llama"
    tolerance: ClassVar[float] = 1e-5

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A tiny model folder."""
        return tiny_folder(tmp_path_factory.mktemp("model"), self.model_type)

    @pytest.fixture(scope="class")
    def exported(self, item: Exporter, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder that an export of the model wrote."""
        folder = tmp_path_factory.mktemp("export") / "written"
        done = self._export(item, model, folder)
        assert done.returncode == 0, done.stderr
        return folder

    def _export(self, item: Exporter, model: Path, folder: Path, **more: Any) -> Any:
        settings = {"model_name_or_path": model, "exporter": item.name, "export_dir": folder, **self.options, **more}
        return plugtune("export", *[part for name, value in settings.items() for part in (f"--{name}", value)])

    def reload(self, folder: Path) -> Any:
        """The written model as a `transformers` model; override it for other forms."""
        from transformers import AutoModelForCausalLM

        if not (folder / "config.json").is_file():
            pytest.skip("it writes no model folder: override `reload(folder)` in a class that inherits ExporterTests")

        return AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()

    def test_it_writes_something(self, exported: Path) -> None:
        assert any(exported.iterdir())
        leftovers = [path.name for path in exported.parent.iterdir() if path != exported]
        assert leftovers == [], f"it left {leftovers} beside the folder"

    @optional
    def test_what_it_wrote_is_the_same_model(self, model: Path, exported: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        ids = torch.arange(5, 25)[None]
        with torch.no_grad():
            expected = AutoModelForCausalLM.from_pretrained(model, dtype="float32").eval()(input_ids=ids).logits
            found = self.reload(exported)(input_ids=ids).logits
        assert (expected - found).abs().max().item() <= self.tolerance

    @optional
    def test_an_adapter_is_merged(self, item: Exporter, model: Path, tmp_path: Path) -> None:
        import torch

        from plugtune.testkit.run import data_folder, train

        if not any(m.saves_adapter for m in installed().catalog.all("method")):
            pytest.skip("no installed method saves adapters: pip install plugtune-method-lora")
        name = next(m.name for m in installed().catalog.all("method") if m.saves_adapter)
        data = data_folder(tmp_path / "data", "conversation")
        train(model, data, tmp_path / "run", {"stage": "sft", "finetuning_type": name, "max_steps": 2})
        done = self._export(item, model, tmp_path / "merged", adapter_name_or_path=tmp_path / "run")
        assert done.returncode == 0, done.stderr
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        base = AutoModelForCausalLM.from_pretrained(model, dtype="float32")
        ids = torch.arange(5, 25)[None]
        with torch.no_grad():
            expected = PeftModel.from_pretrained(base, str(tmp_path / "run")).eval()(input_ids=ids).logits
            found = self.reload(tmp_path / "merged")(input_ids=ids).logits
        assert (expected - found).abs().max().item() <= max(self.tolerance, 1e-4)

    @optional
    def test_the_tokenizer_goes_with_it(self, model: Path, exported: Path) -> None:
        from transformers import AutoTokenizer

        if not any(exported.glob("tokenizer*")):
            pytest.skip("it writes no tokenizer: whoever loads the model must bring the one that it was trained with")
        chat = [{"role": "user", "content": "Hello"}]
        ids = [
            AutoTokenizer.from_pretrained(f).apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
            for f in (model, exported)
        ]
        assert ids[0] == ids[1]

    def test_a_folder_that_is_taken_is_refused_and_left_alone(
        self, item: Exporter, model: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "taken").mkdir()
        (tmp_path / "taken" / "mine.txt").write_text("mine")
        done = self._export(item, model, tmp_path / "taken")
        assert done.returncode == 2, done.stderr
        assert "taken" in done.stderr
        assert "Traceback" not in done.stderr
        assert [p.name for p in (tmp_path / "taken").iterdir()] == ["mine.txt"]

    def test_a_failed_export_leaves_nothing(
        self, item: Exporter, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from transformers import PreTrainedTokenizerBase

        from plugtune.inference.export import run_export
        from plugtune.options.reader import Given, Request

        def no_room(*_: Any, **__: Any) -> Any:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(PreTrainedTokenizerBase, "save_pretrained", no_room)
        given = {
            "model_name_or_path": str(model),
            "exporter": item.name,
            "export_dir": str(tmp_path / "out"),
            **self.options,
        }
        try:
            run_export(Request({name: Given(value, name) for name, value in given.items()}), installed())
        except OSError:
            assert not (tmp_path / "out").exists(), "half an export is left"

"""Tests of a tuning method: what it trains, what it leaves, and that this gives the same model again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from plugtune.capabilities import TuningMethod
from plugtune.testkit.base import CapabilityTests, installed
from plugtune.testkit.models import tiny_folder
from plugtune.testkit.run import data_folder, losses, train


class MethodTests(CapabilityTests):
    """Tests of a method.

    Attributes:
        options: flags of the run, the method's own among them.
        model_type: architecture of the tiny model.
    """

    kind = "method"
    options: ClassVar[Mapping[str, Any]] = {}
    model_type: ClassVar[str] = "llama"

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A tiny model folder."""
        return tiny_folder(tmp_path_factory.mktemp("model"), self.model_type)

    @pytest.fixture(scope="class")
    def run(self, item: TuningMethod, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder of a run of supervised fine-tuning with the method."""
        folder = tmp_path_factory.mktemp("run")
        settings = {"stage": "sft", "finetuning_type": item.name, "max_steps": 12, **self.options}
        train(model, data_folder(folder / "data", "conversation"), folder / "out", settings)
        return folder / "out"

    def test_it_learns(self, run: Path) -> None:
        found = losses(run)
        assert sum(found[-4:]) < sum(found[:4]), f"the loss does not fall: {found}"

    def test_it_prepares_a_model_in_which_something_is_trained(self, item: TuningMethod, model: Path) -> None:
        prepared = self._prepared(item, model, [], training=True)
        trained = [p for p in prepared.parameters() if p.requires_grad]
        assert trained, "nothing is trained"
        assert all(str(p.dtype) == "torch.float32" for p in trained), "trained weights must be fp32"

    def test_what_a_run_leaves_is_the_trained_model(self, item: TuningMethod, model: Path, run: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        assert (run / "adapter_config.json").is_file() == item.saves_adapter, "saves_adapter says otherwise"
        ids = torch.arange(5, 25)[None]
        base = AutoModelForCausalLM.from_pretrained(model).eval()
        if item.saves_adapter:
            tuned = self._prepared(item, model, [run], training=False).eval()
        else:
            tuned = AutoModelForCausalLM.from_pretrained(run).eval()
        with torch.no_grad():
            before, after, again = (m(input_ids=ids).logits for m in (base, tuned, tuned))
        assert not torch.allclose(before, after), "the run left the model as it was"
        assert torch.equal(after, again)

    def _prepared(self, item: TuningMethod, model: Path, adapters: list[Path], *, training: bool) -> Any:
        from plugtune.capabilities import load_ref
        from plugtune.modeling.load import load_model
        from plugtune.modeling.locate import locate
        from plugtune.modeling.methods import MethodContext
        from plugtune.modeling.request import ModelRequest
        from plugtune.options.groups import ModelOptions

        options = ModelOptions(model_name_or_path=str(model))
        located = locate(options, installed().catalog)
        loaded = load_model(ModelRequest(located, options, "float32"), installed())
        own = (
            item.options(**{k: v for k, v in self.options.items() if k in item.options.__annotations__})
            if item.options
            else None
        )
        return load_ref(item.prepare)(loaded, MethodContext(own, options, located.family, adapters, training))

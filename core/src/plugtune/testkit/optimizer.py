"""Tests of an optimizer: it is off until asked for, learns, repeats, and comes back from a checkpoint as it was."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from plugtune.capabilities import Optimizer, load_ref
from plugtune.options.schema import specs_of
from plugtune.testkit.base import CapabilityTests, optional
from plugtune.testkit.models import tiny_folder
from plugtune.testkit.run import data_folder, losses, train


class OptimizerTests(CapabilityTests):
    """Tests of an optimizer.

    Attributes:
        options: the optimizer's own options besides its switch.
        settings: further flags of the run (`learning_rate`).
        model_type: architecture of the tiny model.
    """

    kind = "optimizer"
    options: ClassVar[Mapping[str, Any]] = {}
    settings: ClassVar[Mapping[str, Any]] = {}
    model_type: ClassVar[str] = "llama"

    @pytest.fixture(scope="class")
    def model(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A tiny model folder."""
        return tiny_folder(tmp_path_factory.mktemp("model"), self.model_type)

    @pytest.fixture(scope="class")
    def data(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A data folder with conversations."""
        return data_folder(tmp_path_factory.mktemp("data"), "conversation")

    @pytest.fixture(scope="class")
    def run(self, item: Optimizer, model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The folder of a full fine-tuning run with the optimizer."""
        output = tmp_path_factory.mktemp("run") / "out"
        train(model, data, output, self._flags(item))
        return output

    def _flags(self, item: Optimizer) -> dict[str, Any]:
        return {"stage": "sft", "max_steps": 12, item.switch: True, **self.options, **self.settings}

    def test_one_of_its_options_turns_it_on_and_is_off(self, item: Optimizer) -> None:
        switch = next((spec for spec in specs_of(item.options) if spec.name == item.switch), None)
        assert switch is not None, f"switch names {item.switch!r}, which is none of its options"
        assert switch.type == "bool", f"{item.switch} is {switch.type}, not a bool"
        assert switch.default is False, "it would be on without being asked for"

    def test_it_learns(self, run: Path) -> None:
        found = losses(run)
        assert sum(found[-4:]) < sum(found[:4]), f"the loss does not fall: {found}"

    def test_the_run_says_that_it_was_used(self, run: Path) -> None:
        report = json.loads((run / "run.json").read_text(encoding="utf-8"))
        assert self.plugin in {plugin["name"] for plugin in report["plugins"]}
        assert self.name in json.dumps(report["choices"]), "the plan does not name the optimizer"

    def test_the_same_run_gives_the_same_numbers(
        self, item: Optimizer, model: Path, data: Path, run: Path, tmp_path: Path
    ) -> None:
        train(model, data, tmp_path / "again", self._flags(item))
        assert losses(tmp_path / "again") == losses(run)

    def test_its_state_restores_it(self, item: Optimizer, model: Path, tmp_path: Path) -> None:
        """Two steps, then a third by the optimizer itself and by one that took up its state: the same weights."""
        import torch
        from transformers import AutoModelForCausalLM

        first = AutoModelForCausalLM.from_pretrained(model, dtype="float32").train()
        optimizer = self._built(item, first, tmp_path)
        for seed in (0, 1):
            _step(first, optimizer, seed)
        # As a resumed run does: a model loaded anew, with all that is trained marked so, and the weights put into it.
        second = AutoModelForCausalLM.from_pretrained(model, dtype="float32").train()
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        restored = self._built(item, second, tmp_path)
        state = copy.deepcopy(optimizer.state_dict())
        torch.save(state, tmp_path / "optimizer.pt")
        restored.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
        _step(first, optimizer, 2)
        _step(second, restored, 2)
        for name, value in first.state_dict().items():
            assert torch.equal(value, second.state_dict()[name]), f"{name} goes another way after a restart"

    @optional
    def test_methods_that_train_adapters_are_taken_or_refused_as_it_says(
        self, item: Optimizer, model: Path, data: Path, tmp_path: Path
    ) -> None:
        from plugtune.testkit.base import installed

        name = next((m.name for m in installed().catalog.all("method") if m.saves_adapter), None)
        if name is None:
            pytest.skip("no installed method saves adapters: pip install plugtune-method-lora")
        flags = {**self._flags(item), "finetuning_type": name, "max_steps": 2}
        if item.adapters:
            train(model, data, tmp_path / "out", flags)
            return
        done = train(model, data, tmp_path / "out", flags, fails=True)
        assert done.returncode == 2, "it says that it is not for adapters, and runs with them"
        assert "Traceback" not in done.stderr

    def _built(self, item: Optimizer, model: Any, folder: Path) -> Any:
        from transformers import TrainingArguments

        arguments = TrainingArguments(output_dir=str(folder), learning_rate=1e-2, use_cpu=True, report_to=[])
        return load_ref(item.build)(model, arguments, item.options(**{item.switch: True, **self.options}))


def _step(model: Any, optimizer: Any, seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    ids = torch.randint(5, 100, (2, 16))
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    optimizer.step()
    optimizer.zero_grad()

"""Tests of a model family: its list of models, the checkpoints it claims, a tiny model that is loaded and tuned."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

import pytest

from plugtune.capabilities import ModelFamily
from plugtune.errors import RequestError
from plugtune.testkit import tiny
from plugtune.testkit.base import CapabilityTests, installed, optional
from plugtune.testkit.models import tiny_tokenizer
from plugtune.testkit.run import data_folder, losses, train

SIZE = re.compile(r"\d+(\.\d+)?(x\d+(\.\d+)?)?[MBT](-A\d+(\.\d+)?[MB])?")


class FamilyTests(CapabilityTests):
    """Tests of a family.

    Attributes:
        model_type: which of its model types the tiny model has; the first when empty.
        why_no_model: why no tiny model can be made; the tests that need one are skipped with it.
    """

    kind = "family"
    model_type: ClassVar[str] = ""
    why_no_model: ClassVar[str] = ""

    def tiny(self, folder: Path, item: ModelFamily) -> Path:
        """A tiny random model folder as the family's hubs would give it; override it for layouts of its own."""
        return tiny.make(item.name, folder, model_type=self.model_type, host=installed())

    @pytest.fixture(scope="class")
    def model(self, item: ModelFamily, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The tiny model's folder."""
        if self.why_no_model:
            pytest.skip(self.why_no_model)
        if _needs_code(item):
            pytest.skip(f"each of its models needs {item.models[0].needs}, which is not here")
        try:
            return self.tiny(tmp_path_factory.mktemp("model"), item)
        except RequestError as error:
            pytest.fail(f"{error}: override `tiny`, or say `why_no_model`")

    def test_its_models_are_named_and_sized(self, item: ModelFamily) -> None:
        assert item.model_types or item.architectures or item.like or _needs_code(item), (
            "it claims no checkpoint: name model_types or architectures, or whose architecture it shares in `like`"
        )
        names = [model.name for model in item.models]
        assert len(set(names)) == len(names), "a model name stands twice"
        for model in item.models:
            assert not model.size or SIZE.fullmatch(model.size), (
                f"{model.name}: size {model.size!r} is not like 7B, 1.5B, 8x7B, 30B-A3B"
            )
            assert model.hub, f"{model.name} has no hub id"
            for hub, repository in model.hub.items():
                assert repository.count("/") == 1, f"{model.name}: {repository!r} on {hub} is not owner/name"

    def test_no_other_family_has_its_models_or_claims_its_checkpoints(self, item: ModelFamily) -> None:
        for other in installed().catalog.all("family"):
            if other.name == item.name:
                continue
            same = {m.name for m in other.models} & {m.name for m in item.models}
            assert not same, f"family {other.name} lists {', '.join(sorted(same))} too"
            claimed = set(other.architectures) & set(item.architectures) or (
                set() if item.architectures or other.architectures else set(other.model_types) & set(item.model_types)
            )
            assert not claimed, f"family {other.name} claims {', '.join(sorted(claimed))} too"

    def test_its_templates_are_installed(self, item: ModelFamily) -> None:
        known = {*installed().catalog.names("template"), "auto"}
        wanted = {name for name in (item.template, *(m.template for m in item.models)) if name}
        assert wanted <= known, f"no installed plugin provides template {', '.join(sorted(wanted - known))}"

    def test_its_requirements_hold_here(self, item: ModelFamily) -> None:
        from plugtune.plugins.compat import requirement_problems

        assert requirement_problems(item.requires) == []

    def test_it_claims_its_checkpoint(self, item: ModelFamily, model: Path) -> None:
        from plugtune.modeling.locate import family_of

        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        claimed = family_of(config, installed().catalog)
        assert claimed is not None, f"no family claims {config.get('model_type')!r}, {config.get('architectures')}"
        if item.like and not item.model_types:
            assert config["model_type"] in claimed.model_types, f"{claimed.name} claims its checkpoint by accident"
        else:
            assert claimed.name == item.name

    def test_its_names_are_those_of_the_model(self, item: ModelFamily, model: Path) -> None:
        import torch

        from plugtune.modeling.methods import blocks_path

        loaded = self._load(model)
        blocks = blocks_path(loaded, item)
        assert isinstance(loaded.get_submodule(blocks), torch.nn.ModuleList), f"{blocks} is no list of blocks"
        linear = _linear_layers(loaded)
        names = (*item.lora_targets, *(new for aliases in item.target_aliases.values() for new in aliases))
        assert linear & set(names), f"it has none of {', '.join(names)}; it has {', '.join(sorted(linear))}"
        missing = set(names) - linear
        if missing:  # what one checkpoint of a family lacks, another has
            linear |= _linear_layers_of_all(item)
        missing -= linear
        assert not missing, f"no model has a layer {', '.join(sorted(missing))}; they have {', '.join(sorted(linear))}"

    @optional
    def test_packs_says_whether_rows_laid_end_to_end_are_independent(self, item: ModelFamily, model: Path) -> None:
        from plugtune.training import attention

        assert attention.enable(self._load(model)) or not item.packs, "packs is true and rows change each other"

    def test_it_saves_and_loads_the_same_model(self, model: Path, tmp_path: Path) -> None:
        import torch

        first = self._load(model).eval()
        first.save_pretrained(tmp_path / "saved")
        second = type(first).from_pretrained(tmp_path / "saved").eval()
        ids = torch.arange(5, 25)[None]
        with torch.no_grad():
            assert torch.allclose(first(input_ids=ids).logits, second(input_ids=ids).logits, atol=1e-6)

    def test_it_is_tuned(self, item: ModelFamily, model: Path, tmp_path: Path) -> None:
        name = next((m.name for m in installed().catalog.all("method") if m.saves_adapter), "full")
        data = data_folder(tmp_path / "data", "conversation")
        template = "auto" if _has_chat_template(model) else item.template
        options = {"stage": "sft", "finetuning_type": name, "max_steps": 12, "template": template}
        train(model, data, tmp_path / "run", options)
        found = losses(tmp_path / "run")
        assert sum(found[-4:]) < sum(found[:4]), f"the loss does not fall: {found}"

    def _load(self, model: Path) -> Any:
        from plugtune.modeling.load import load_model
        from plugtune.modeling.locate import locate
        from plugtune.modeling.request import ModelRequest
        from plugtune.options.groups import ModelOptions

        options = ModelOptions(model_name_or_path=str(model))
        return load_model(ModelRequest(locate(options, installed().catalog), options, "float32"), installed())


def _needs_code(item: ModelFamily) -> bool:
    """Whether every model of a family takes more than transformers and the family's plugin."""
    return bool(item.models) and all(model.needs for model in item.models)


def _linear_layers(model: Any) -> set[str]:
    from plugtune.modeling.methods import is_linear

    return {name.rpartition(".")[2] for name, module in model.named_modules() if is_linear(module)}


def _linear_layers_of_all(item: ModelFamily) -> set[str]:
    """Last names of the linear layers of all model types of a family, with and without low-rank queries."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = tiny_tokenizer()
    owners = {kind: family for family in installed().catalog.all("family") for kind in family.model_types}
    found: set[str] = set()
    for kind in item.model_types or item.like:
        values = owners.get(kind, item).small.get(kind, {})
        config = tiny.small_config(kind, tokenizer, **values)
        variants = [config]
        if hasattr(config, "q_lora_rank"):
            variants.append(tiny.small_config(kind, tokenizer, **{**values, "q_lora_rank": 16}))
        for variant in variants:
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(variant)
            found |= _linear_layers(model)
    return found


def _has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer brings its own, in its config or in a file."""
    config = folder / "tokenizer_config.json"
    inside = config.is_file() and "chat_template" in json.loads(config.read_text(encoding="utf-8"))
    return inside or (folder / "chat_template.jinja").is_file()

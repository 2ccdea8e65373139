"""What an exporter is given and what it answers; and the straight line of `plugtune export`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plugtune.capabilities import Exporter, load_ref
from plugtune.errors import RequestError
from plugtune.hubs import chosen_hub
from plugtune.modeling.locate import Located, check_weights, locate
from plugtune.options.groups import ExportOptions, ModelOptions
from plugtune.options.reader import Request
from plugtune.options.resolve import resolve
from plugtune.options.schema import option
from plugtune.plugins.host import PluginHost


@dataclass(frozen=True, slots=True)
class ExportContext:
    """What `Exporter.export` may use.

    Attributes:
        located: the base model.
        adapters: adapter folders, merged in order.
        tokenizer: the trained run's tokenizer if an adapter folder has one, else the base's.
        template: the template on it, or `None` to keep the tokenizer's own chat template.
        export_dir: the folder to write; must be new or empty.
        shard_bytes: largest shard.
        dtype: `float32`, `bfloat16`, `float16`, or `auto` to keep the base's.
        options: the exporter's own options.
    """

    host: PluginHost
    located: Located
    model_options: ModelOptions
    adapters: tuple[Path, ...]
    tokenizer: Any
    template: Any
    export_dir: Path
    shard_bytes: float
    dtype: str
    options: Any = None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """Where the export is, its weight files and their bytes together; what `--verify` found, and where it went."""

    folder: Path
    files: list[str]
    total_bytes: int
    notes: tuple[str, ...] = ()
    verified: dict[str, Any] | None = None
    uploaded: str = ""

    def as_json(self) -> dict[str, Any]:
        """JSON form."""
        answer: dict[str, Any] = {
            "export_dir": str(self.folder), "files": self.files, "total_bytes": self.total_bytes,
            "notes": list(self.notes),
        }  # fmt: skip
        if self.verified is not None:
            answer["verified"] = self.verified
        if self.uploaded:
            answer["uploaded"] = self.uploaded
        return answer


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder aside that takes the place of `target` when the block ends well, and is gone when it does not.

    Raises:
        RequestError: the target is taken; nothing is written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RequestError(f"export_dir {target} is not empty", where="export_dir", fix="choose a new folder")
    staging = target.with_name(f".{target.name}.part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        for path in staging.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        if target.exists():
            target.rmdir()
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def tuned_model(context: ExportContext) -> Any:
    """The base model of an export in memory (`transformers.PreTrainedModel`), its adapters merged into the weights.

    Raises:
        RequestError: the model or an adapter cannot be loaded.
    """
    from plugtune.modeling.load import load_model
    from plugtune.modeling.methods import MethodContext
    from plugtune.modeling.request import ModelRequest

    located = context.located
    own = str(located.config.get("dtype") or located.config.get("torch_dtype") or "float32")
    dtype = own.removeprefix("torch.") if context.dtype == "auto" else context.dtype
    model = load_model(ModelRequest(located, context.model_options, dtype), context.host)
    if context.adapters:
        method = next(m for m in context.host.catalog.all("method") if m.saves_adapter)
        tuning = MethodContext(
            method.options() if method.options else None, context.model_options, located.family, context.adapters,
            training=False,
        )  # fmt: skip
        model = load_ref(method.prepare)(model, tuning).merge_and_unload()
    model.config.use_cache = True
    return model.eval()


@dataclass(slots=True)
class TemplateChoice:
    """The template option, which exports and chats share with training."""

    template: str = option("auto", help="Chat template: a name, a YAML file, or auto for the tokenizer's own.")
    finetuning_type: str = option("lora", help="How the model was tuned; adapters are found by their folder.")
    default_system: str | None = option(None, help="System prompt of conversations that name none.")
    enable_thinking: bool = option(True, help="Thinking mode of reasoning templates.")


def run_export(request: Request, host: PluginHost) -> ExportReport:
    """Export as asked.

    Raises:
        RequestError: the request is wrong; nothing is written.
    """
    exporter: Exporter = host.catalog.get("exporter", str(request.peek("exporter", "merged")))
    groups: dict[str, type] = {"model": ModelOptions, "export": ExportOptions, "template": TemplateChoice}
    if exporter.options is not None:
        groups[f"exporter {exporter.name}"] = exporter.options
    resolved = resolve(request, groups)
    model, options, chosen = (resolved.groups[name] for name in ("model", "export", "template"))
    if not model.model_name_or_path:
        raise RequestError("no model", where="model_name_or_path", fix="add --model_name_or_path FOLDER")
    if not options.export_dir:
        raise RequestError("no folder to write", where="export_dir", fix="add --export_dir FOLDER")
    if options.export_legacy_format:
        raise RequestError("pickled weights are not written", where="export_legacy_format", fix="leave it out")
    located = locate(model, host.catalog)
    check_weights(located.folder)
    adapters = tuple(
        _adapter_folder(str(Path(model.adapter_folder or "") / name)) for name in model.adapter_name_or_path
    )
    tokenizer, template = open_tokenizer(located, model, adapters, chosen, host)
    context = ExportContext(
        host, located, model, adapters, tokenizer, template, Path(options.export_dir), options.export_size * 1e9,
        model.infer_dtype, resolved.groups.get(f"exporter {exporter.name}"),
    )  # fmt: skip
    report: ExportReport = load_ref(exporter.export)(context)
    if options.verify:
        from plugtune.inference.verify import verify

        report = replace(report, verified=verify(context, exporter, report))
    if options.export_hub_model_id:
        report = replace(report, uploaded=upload(report.folder, options.export_hub_model_id, model, host))
    return report


def upload(folder: Path, repository: str, model: ModelOptions, host: PluginHost) -> str:
    """Upload a folder to the chosen hub; returns its address there.

    Raises:
        RequestError: that hub takes no uploads, or refuses this one.
    """
    hub = chosen_hub(host.catalog, model.hub)
    if not hub.upload:
        raise RequestError(f"hub {hub.name} takes no uploads", where="export_hub_model_id")
    token = getattr(model, hub.token, None)
    return str(load_ref(hub.upload)(folder, repository, token=token))


def _adapter_folder(name: str) -> Path:
    from plugtune.training.checkpoint import choose

    folder = Path(name)
    if folder.name in ("latest", "last") and not folder.exists():
        chosen, _ = choose(folder.parent, True)
        assert chosen is not None
        return chosen
    if not (folder / "adapter_config.json").is_file():
        raise RequestError(
            f"{folder} holds no adapter", where="adapter_name_or_path", why="there is no adapter_config.json"
        )
    return folder


def open_tokenizer(
    located: Located, model: ModelOptions, adapters: tuple[Path, ...], chosen: Any, host: PluginHost
) -> tuple[Any, Any]:
    """The tokenizer that goes with the weights, and the template on it (`None` if it has none and none was named)."""
    from plugtune.modeling.tokenizer import load_tokenizer
    from plugtune.templating.choose import bind
    from plugtune.training.quiet import silence

    silence()
    tokenizer = load_tokenizer(located, model)
    trained = next((a for a in reversed(adapters) if (a / "tokenizer_config.json").is_file()), None)
    if trained is not None:
        tokenizer = load_tokenizer(Located(trained, None, located.config, located.family), model)
    if chosen.template == "auto" and not getattr(tokenizer, "chat_template", None):
        return tokenizer, None
    template = bind(
        chosen.template, host.catalog, tokenizer, enable_thinking=chosen.enable_thinking,
        default_system=chosen.default_system,
    )  # fmt: skip
    return tokenizer, template

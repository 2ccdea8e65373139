"""A GGUF file from the gguf exporter, and a Modelfile beside it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

from plugtune import RequestError
from plugtune.capabilities import load_ref
from plugtune.inference.export import ExportContext, ExportReport, new_folder
from plugtune.inference.verify import CONVERSATIONS
from plugtune.templating.bound import BoundTemplate
from plugtune.templating.model import ChatTemplate

from plugtune_export_ollama.go import go_template


def export(context: ExportContext) -> ExportReport:
    """Write both.

    Raises:
        RequestError: there is no template, or Ollama cannot express it, or GGUF cannot hold the model.
    """
    bound = pieces_of(context)
    text = modelfile(bound, context, f"{context.export_dir.name}-{context.options.gguf_type}.gguf")
    gguf = context.host.catalog.get("exporter", "gguf")
    scratch = context.export_dir.with_name(f".{context.export_dir.name}.ollama") / context.export_dir.name
    with new_folder(context.export_dir) as staging:
        shutil.rmtree(scratch.parent, ignore_errors=True)
        scratch.parent.mkdir()
        try:
            inner = replace(
                context, export_dir=scratch, options=gguf.options(gguf_type=context.options.gguf_type)
            )  # fmt: skip
            report: ExportReport = load_ref(gguf.export)(inner)
            (scratch / report.files[0]).rename(staging / report.files[0])
        finally:
            shutil.rmtree(scratch.parent, ignore_errors=True)
        (staging / "Modelfile").write_text(text, encoding="utf-8")
    return replace(report, folder=context.export_dir)


def pieces_of(context: ExportContext) -> BoundTemplate:
    """The template in pieces; the tokenizer's own one is looked for among the installed ones.

    Raises:
        RequestError: there is none that writes the same prompts.
    """
    bound = context.template
    if isinstance(bound, BoundTemplate):
        return bound
    if bound is None:
        raise RequestError("a Modelfile needs a chat template", where="template", fix="name one with --template")
    wanted = [bound.encode_prompt(talk) for talk in CONVERSATIONS]
    for template in context.host.catalog.all("template"):
        try:
            candidate = BoundTemplate(template, context.tokenizer)
            if [candidate.encode_prompt(talk) for talk in CONVERSATIONS] == wanted:
                return candidate
        except Exception:  # a template that does not fit this tokenizer raises what it likes
            continue
    raise RequestError(
        "no installed template writes what the tokenizer's own chat template writes", where="template",
        why="Ollama reads Go templates, not Jinja", fix="name the template that the model was trained with",
    )  # fmt: skip


def modelfile(bound: BoundTemplate, context: ExportContext, file: str) -> str:
    """The Modelfile: weights, template, default system prompt, stop words, parameters."""
    template: ChatTemplate = bound.template
    options: Any = context.options
    system = template.default_system if bound.options.default_system is None else bound.options.default_system
    lines = [f"FROM ./{file}", f'TEMPLATE """{go_template(template, bound.eos_text())}"""']
    if system:
        lines.append(f'SYSTEM """{system}"""')
    stops = dict.fromkeys((bound.eos_text(), *template.stop))
    lines += [f'PARAMETER stop "{word}"' for word in stops if word]
    lines.append(f"PARAMETER num_ctx {options.ollama_context}")
    if options.ollama_temperature is not None:
        lines.append(f"PARAMETER temperature {options.ollama_temperature}")
    return "\n".join(lines) + "\n"


def reopen(context: ExportContext, report: ExportReport) -> Any:
    """The GGUF file."""
    from plugtune.options.groups import ModelOptions

    return ModelOptions(
        model_name_or_path=str(report.folder / report.files[0]), infer_dtype=context.model_options.infer_dtype
    )  # fmt: skip

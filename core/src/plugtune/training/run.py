"""One run, in a straight line: plan, tokenizer, rows, model, trainer, files. Reads top to bottom."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plugtune.capabilities import load_ref
from plugtune.data.encoding import EncoderContext
from plugtune.errors import RequestError, RunError
from plugtune.modeling.locate import Located, check_weights, locate
from plugtune.options.reader import Request
from plugtune.plugins.host import PluginHost
from plugtune.training.plan import Plan
from plugtune.training.planner import make_plan


def say(text: str) -> None:
    """A line for the user, on stderr: stdout belongs to `--json`."""
    print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Run:
    """What a run has gathered so far."""

    host: PluginHost
    plan: Plan
    located: Located
    tokenizer: Any = None
    template: Any = None
    rows: Any = None
    resume: Path | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def output_dir(self) -> Path:
        """Where everything goes."""
        return Path(str(self.plan.run.output_dir))


def start(request: Request, host: PluginHost) -> Run:
    """Resolve everything that needs no weights: plan, model folder, output folder.

    Raises:
        PlugtuneError: whatever is wrong with the request.
    """
    plan = make_plan(request, host)
    located = locate(plan.model, host.catalog)
    check_weights(located.folder)
    plan.family = located.family
    claim = f"plugin family {located.family.name}" if located.family else "transformers (no family plugin claims it)"
    plan.choose("model", located.folder, f"{located.model_type or 'gguf'}, loaded by {claim}")
    run = Run(host, plan, located)
    run.resume = _check_output(run)
    if plan.run.plot_loss:
        from plugtune.training.plot import require_matplotlib

        require_matplotlib()
    _check_names(run)
    host.hook.plugtune_configure_run(plan=plan)
    return run


def _check_names(run: Run) -> None:
    """The template, the data sets and the rows of small files: mistakes that need no library to be seen."""
    from plugtune.data.precheck import precheck
    from plugtune.templating.choose import find

    data = run.plan.data
    if data.template != "auto" and run.plan.stage.rows != "document":
        find(data.template, run.host.catalog)
    if not data.tokenized_path:
        precheck(data, run.host.catalog, run.plan.stage.rows)


def _check_output(run: Run) -> Path | None:
    from plugtune.training.checkpoint import check_same_run, choose

    folder, options = run.output_dir, run.plan.run
    if not options.do_train or not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        return None
    if not folder.is_dir():
        raise RequestError(f"output_dir {folder} is a file", where="output_dir")
    chosen, notes = choose(folder, options.resume_from_checkpoint)
    run.plan.notes += notes
    if chosen is not None:
        check_same_run(chosen, run.plan.identity())
        run.plan.choose("resume", chosen, "resume_from_checkpoint")
        return chosen
    names = {p.name for p in folder.iterdir()}
    ours = "run.json" in names or "trainer_log.jsonl" in names or any(n.startswith("checkpoint-") for n in names)
    if names and not ours:
        raise RequestError(
            f"output_dir {folder} holds other files ({', '.join(sorted(names)[:3])} …)", where="output_dir",
            fix="choose an empty folder",
        )  # fmt: skip
    if ours and not options.overwrite_output_dir:
        raise RequestError(
            f"output_dir {folder} holds an earlier run", where="output_dir",
            fix="add --resume_from_checkpoint true to go on with it, or --overwrite_output_dir to start again",
        )  # fmt: skip
    return None


def prepare_rows(run: Run) -> None:
    """Tokenizer, template and token rows, with the data report."""
    from plugtune.data.pipeline import prepare
    from plugtune.modeling.tokenizer import load_tokenizer
    from plugtune.templating.choose import bind, mismatch
    from plugtune.training.quiet import silence

    silence()
    plan = run.plan
    run.tokenizer = load_tokenizer(run.located, plan.model)
    if plan.stage.rows != "document":
        data = plan.data
        run.template = bind(
            data.template, run.host.catalog, run.tokenizer, enable_thinking=data.enable_thinking,
            default_system=data.default_system, tool_format=data.tool_format,
        )  # fmt: skip
        plan.choose("template", run.template.name, "the tokenizer's own" if data.template == "auto" else "as named")
        warning = mismatch(run.template, run.located.model_type)
        if warning:
            plan.notes.append(warning)
        if getattr(getattr(run.template, "template", None), "reasoning", "none") == "strip-history":
            plan.notes.append("this reasoning template drops earlier thoughts: only each last answer is trained on")
        _adopt_eos(run)
    make = load_ref(plan.stage.encoder)

    def encoder_for(training: bool) -> Any:
        return make(EncoderContext(run.tokenizer, run.template, plan.data, plan.stage_options, training))

    if plan.data.packing is None and plan.stage.rows != "document":
        plan.data.packing = plan.data.neat_packing
    run.rows = prepare(
        plan.data, run.host.catalog, row_kind=plan.stage.rows, encoder_for=encoder_for, seed=plan.run.seed,
        need_train=plan.run.do_train, need_eval=plan.run.do_eval or plan.run.do_predict,
    )  # fmt: skip
    for line in run.rows.report.text().splitlines():
        say(line)


def _adopt_eos(run: Run) -> None:
    """A template may close answers with its own stop word instead of the tokenizer's end of sequence."""
    eos = getattr(run.template, "eos_id", None)
    if eos is not None and eos != run.tokenizer.eos_token_id:
        run.tokenizer.eos_token = run.tokenizer.convert_ids_to_tokens(eos)


def run_training(request: Request, host: PluginHost) -> dict[str, Any]:
    """A whole run; returns what `run.json` holds."""
    run = start(request, host)
    prepare_rows(run)
    _tell(run.plan)
    choices, notes = len(run.plan.choices), len(run.plan.notes)
    trainer = _make_trainer(run)
    _tell(run.plan, choices, notes)
    try:
        _work(run, trainer)
    except OSError as error:
        raise RunError(
            f"writing {run.output_dir} failed", why=str(error),
            fix="free some space and go on with --resume_from_checkpoint true; the last whole checkpoint is kept",
        ) from error  # fmt: skip
    return _finish(run)


def _tell(plan: Plan, choices: int = 0, notes: int = 0) -> None:
    """Say the choices and notes that were made since the given counts."""
    for choice in plan.choices[choices:]:
        say(f"{choice.what}: {choice.value} ({choice.why})")
    for note in plan.notes[notes:]:
        say(f"note: {note}")


def _make_trainer(run: Run) -> Any:
    from transformers import set_seed

    from plugtune.modeling.load import load_model
    from plugtune.modeling.methods import MethodContext, rest_in_fp32
    from plugtune.modeling.precision import choose_precision
    from plugtune.modeling.request import ModelRequest
    from plugtune.training.arguments import make_arguments
    from plugtune.training.context import TrainerContext

    plan = run.plan
    set_seed(plan.run.seed)
    precision = choose_precision(plan)
    plan.choose(
        "precision", "bf16" if precision.bf16 else "fp16" if precision.fp16 else precision.weights, precision.why
    )
    # A frozen bf16 checkpoint is computed in bf16 anyway: only what is not computed in it is widened, losslessly.
    narrow = precision.bf16 and plan.method.saves_adapter and run.located.dtype == "bfloat16"
    narrow = narrow and not (plan.model.adapter_name_or_path or plan.model.quantization_bit)
    weights = "bfloat16" if narrow else precision.weights
    request = ModelRequest(run.located, plan.model, weights, len(run.tokenizer), plan.run.do_train)
    model = load_model(request, run.host)
    if narrow:
        rest_in_fp32(model)
    adapters = [Path(plan.model.adapter_folder or "") / name for name in plan.model.adapter_name_or_path]
    context = MethodContext(
        plan.method_options, plan.model, plan.family, adapters, plan.run.do_train, plan.run.pure_bf16,
        autocast="bfloat16" if precision.bf16 else "",
    )  # fmt: skip
    model = load_ref(plan.method.prepare)(model, context)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    everything = sum(p.numel() for p in model.parameters())
    plan.choose("trained", f"{trained:,} of {everything:,} parameters", f"method {plan.method.name}")
    if plan.model.print_param_status:
        for name, parameter in model.named_parameters():
            say(f"  {name}: {parameter.dtype}, {'trained' if parameter.requires_grad else 'frozen'}")
    checkpointing = _checkpointing(run, model)
    if checkpointing and hasattr(model, "enable_input_require_grads"):
        model.enable_input_require_grads()
    run.host.hook.plugtune_model_loaded(model=model, plan=plan)
    arguments = make_arguments(
        plan, precision={"bf16": precision.bf16, "fp16": precision.fp16}, checkpointing=checkpointing
    )
    return load_ref(plan.stage.trainer)(
        TrainerContext(
            plan,
            model,
            run.tokenizer,
            run.template,
            arguments,
            run.rows.train,
            run.rows.evaluation,
            _callbacks(run),
            run.host,
        )
    )


def _checkpointing(run: Run, model: Any) -> bool:
    """Recompute activations only when they would not fit: recomputing costs some 40 % of the time."""
    from plugtune.modeling.memory import available_memory, estimate
    from plugtune.training.sizing import size_run

    plan = run.plan
    if plan.model.disable_gradient_checkpointing or not plan.run.do_train:
        return False
    if "gradient_checkpointing" in plan.trainer:
        return bool(plan.trainer["gradient_checkpointing"])
    sized = size_run(run, model.config.to_dict())
    assert sized is not None
    plain = estimate(sized.shape, sized.trained, replace(sized.setting, checkpointing=False))
    # Weights are loaded already; what is still to come must fit with room to spare.
    needed, free = plain.peak - plain.weights - plain.imports, available_memory()
    chosen = needed > 0.8 * free
    why = f"about {needed / 2**30:.1f} GiB needed without it, {free / 2**30:.1f} GiB free"
    plan.choose("gradient checkpointing", "on" if chosen else "off", why)
    return chosen


def _callbacks(run: Run) -> list[Any]:
    from transformers import EarlyStoppingCallback

    from plugtune.training.callbacks import LogFile, LossWatch, Progress, StopOnSignal

    run.output_dir.mkdir(parents=True, exist_ok=True)
    log = LogFile(run.output_dir / "trainer_log.jsonl", resumed=run.resume is not None)
    callbacks: list[Any] = [log, Progress(), StopOnSignal(), LossWatch()]
    if run.plan.run.early_stopping_steps:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=run.plan.run.early_stopping_steps))
    for answer in run.host.hook.plugtune_callbacks(plan=run.plan):
        callbacks += answer or []
    return callbacks


def _work(run: Run, trainer: Any) -> None:
    from transformers.trainer_callback import PrinterCallback

    from plugtune.training.callbacks import LogFile
    from plugtune.training.plot import plot_loss

    trainer.remove_callback(PrinterCallback)  # numbers go to the log file and the progress line
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, LogFile):
            callback.trainer = trainer
    if run.template is not None:
        run.tokenizer.chat_template = run.template.chat_template()
    if run.plan.run.do_train:
        started = time.monotonic()
        result = trainer.train(resume_from_checkpoint=str(run.resume) if run.resume else None)
        seconds = max(time.monotonic() - started, 1e-9)
        run.metrics |= {k: v for k, v in result.metrics.items() if isinstance(v, int | float)}
        run.metrics["train_tokens_per_second"] = round(trainer.tokens_seen / seconds, 2)
        trainer.save_model(str(run.output_dir))
        if run.plan.run.plot_loss and trainer.is_world_process_zero():
            plot_loss(trainer.state.log_history, run.output_dir / "training_loss.png", run.plan.stage.metrics)
        trainer.state.save_to_json(str(run.output_dir / "trainer_state.json"))
    if run.plan.run.do_eval and run.rows.evaluation is not None:
        import math

        metrics = trainer.evaluate()
        if "eval_loss" in metrics and getattr(trainer, "next_token_loss", False):
            metrics["eval_perplexity"] = math.exp(min(metrics["eval_loss"], 700))
        run.metrics |= metrics
    if run.plan.run.do_predict:
        from plugtune.inference.predict import predict

        run.metrics |= predict(run, trainer)


def _finish(run: Run) -> dict[str, Any]:
    from plugtune.training.checkpoint import write_whole
    from plugtune.training.report import RunReport

    template = {"name": run.template.name, "digest": run.template.digest} if run.template else {}
    report = RunReport(run.plan, run.output_dir, run.metrics, run.rows.report.as_json(), template)
    text = json.dumps(run.metrics, indent=1)
    write_whole(run.output_dir / "all_results.json", text.encode())
    report.write()
    run.host.hook.plugtune_run_finished(report=report)
    say(f"done: {run.output_dir}")
    return report.as_json()


def dry_run(request: Request, host: PluginHost) -> dict[str, Any]:
    """Everything up to the weights: the plan, the data report, the memory that the run would take."""
    from plugtune.training.report import resolved_options
    from plugtune.training.sizing import size_run

    run = start(request, host)
    prepare_rows(run)
    _tell(run.plan)
    sized = size_run(run)
    if sized is not None:
        fits = "it fits" if sized.fits else "it does not fit: plugtune estimate says what would help"
        say(f"memory: about {sized.estimate.peak / 2**30:.1f} GiB, {sized.free / 2**30:.1f} GiB free: {fits}")
    return {
        "stage": run.plan.stage.name,
        "method": run.plan.method.name,
        "options": resolved_options(run.plan),
        "choices": [{"what": c.what, "value": c.value, "why": c.why} for c in run.plan.choices],
        "notes": run.plan.notes,
        "plugins": run.plan.plugins,
        "data": run.rows.report.as_json(),
        "memory": sized.as_json() if sized is not None else None,
    }

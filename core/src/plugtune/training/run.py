"""One run, in a straight line: plan, tokenizer, rows, model, trainer, files. Reads top to bottom."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from plugtune.capabilities import load_ref
from plugtune.collector import all_so_far_kept, collector_off
from plugtune.data.encoding import EncoderContext
from plugtune.errors import RunError
from plugtune.modeling.locate import check_weights, locate
from plugtune.modeling.prequantized import check_prequantized
from plugtune.options.reader import Request
from plugtune.plugins.host import PluginHost
from plugtune.training.allocator import memory_kept
from plugtune.training.gathered import Run, say
from plugtune.training.launch import Launch
from plugtune.training.outputs import check_output, check_start, clear_leftovers
from plugtune.training.plan import Plan
from plugtune.training.planner import make_plan
from plugtune.training.world import World


def start(request: Request, host: PluginHost, world: World | None = None, processes: int | None = None) -> Run:
    """Resolve everything that needs no weights: plan, model folder, output folder.

    Args:
        request: the options as given.
        host: the loaded plugins.
        world: the processes of the run; this one alone when left out.
        processes: how many will take part, where they are not started yet.

    Raises:
        PlugtuneError: whatever is wrong with the request.
    """
    world = world or World()
    plan = make_plan(request, host)
    _agree(plan, world)
    with world.local_first("model"):  # which may be a download
        located = locate(plan.model, host.catalog)
        check_weights(located.folder)
    plan.family = located.family
    claim = f"plugin family {located.family.name}" if located.family else "transformers (no family plugin claims it)"
    plan.choose("model", located.folder, f"{located.model_type or 'gguf'}, loaded by {claim}")
    if plan.optimizer is not None:
        plan.choose("optimizer", plan.optimizer.name, f"turned on by {plan.optimizer.switch}")
    check_prequantized(plan, located.config)
    run = Run(host, plan, located, world)
    if processes is None or world.size > 1:
        processes = world.size
    resume = world.share("resume", lambda: str(check_output(plan, world.restarts > 0, processes) or ""))
    run.resume = Path(resume) if resume else None
    if run.resume is not None:
        from plugtune.training.provenance import check_resume

        plan.notes += check_resume(run.resume.parent, host, allowed=plan.model.allow_plugin_change)
    check_start(plan, located.folder)
    if plan.run.plot_loss:
        from plugtune.training.plot import require_matplotlib

        require_matplotlib()
    _check_names(run)
    host.hook.plugtune_configure_run(plan=plan)
    return run


LOCAL = ("model_name_or_path", "cache_dir", "dataset_dir", "output_dir", "logging_dir", "tokenized_path")
"""Options that say where things are, which may differ between machines."""


def _agree(plan: Plan, world: World) -> None:
    from plugtune.training.report import resolved_options

    world.must_agree("plugins", {p["name"]: f"{p['version']} {p['hash'][:12]}" for p in plan.plugins})
    options = resolved_options(plan)
    world.must_agree("options", {k: v for group in options.values() for k, v in group.items() if k not in LOCAL})


def _check_names(run: Run) -> None:
    """The template, the data sets and the rows of small files: mistakes that need no library to be seen."""
    from plugtune.data.precheck import precheck
    from plugtune.templating.choose import AUTO, find
    from plugtune.templating.precheck import check_template

    data = run.plan.data
    if run.plan.stage.rows != "document":
        named = None if data.template == AUTO else find(data.template, run.host.catalog)
        check_template(named, run.located, run.plan.model)
    if not data.tokenized_path:
        precheck(data, run.host.catalog, run.plan.stage.rows, run.plan.model.hub)


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
        hub=plan.model.hub,
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
    world = World.join()
    with world.one_voice():
        return _train(request, host, world)


def _train(request: Request, host: PluginHost, world: World) -> dict[str, Any]:
    from plugtune.training.build import make_trainer

    with collector_off():
        run = start(request, host, world)
        _import_libraries(run.plan)
    if world.main:
        clear_leftovers(run.output_dir)
    with all_so_far_kept():
        with world.local_first("rows"):
            prepare_rows(run)
            _same_rows(run)
        _tell(run.plan)
        choices, notes = len(run.plan.choices), len(run.plan.notes)
        if run.plan.run.do_train and world.main:
            from plugtune.training.provenance import record

            record(run)
        trainer = make_trainer(run)
        _tell(run.plan, choices, notes)
        try:
            with memory_kept() if trainer.args.device.type == "cpu" else nullcontext():
                _work(run, trainer)
        except OSError as error:
            raise RunError(
                f"writing {run.output_dir} failed", why=str(error),
                fix="free some space and go on with --resume_from_checkpoint true; the last whole checkpoint is kept",
            ) from error  # fmt: skip
    return _finish(run)


def _import_libraries(plan: Plan) -> None:
    """What takes seconds to import, in one go."""
    from plugtune.training.quiet import silence

    silence()
    for name in ("plugtune.data.pipeline", "plugtune.modeling.tokenizer", "plugtune.modeling.load"):
        import_module(name)
    load_ref(plan.stage.trainer)
    load_ref(plan.method.prepare)


def _same_rows(run: Run) -> None:
    """The rows and the template of a resumed run are those that its checkpoint was trained on."""
    from plugtune.training.sameness import check_same_run, fingerprint, identity

    run.plan.fingerprints = fingerprint(run.rows.train, run.rows.report.as_json(), run.template)
    if run.resume is not None:
        check_same_run(run.resume, identity(run.plan, run.world.size))


def _tell(plan: Plan, choices: int = 0, notes: int = 0) -> None:
    """Say the choices and notes that were made since the given counts."""
    for choice in plan.choices[choices:]:
        say(f"{choice.what}: {choice.value} ({choice.why})")
    for note in plan.notes[notes:]:
        say(f"note: {note}")


def _work(run: Run, trainer: Any) -> None:
    from transformers.trainer_callback import PrinterCallback

    from plugtune.templating.exported import store_template
    from plugtune.training.callbacks import LogFile
    from plugtune.training.plot import plot_loss
    from plugtune.training.stopping import StopOnSignal
    from plugtune.training.watch import FirstSteps

    trainer.remove_callback(PrinterCallback)  # numbers go to the log file and the progress line
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, LogFile | FirstSteps):
            callback.trainer = trainer
    if run.template is not None:
        note = store_template(run.template, run.tokenizer)
        if note:
            run.plan.notes.append(note)
            say(f"note: {note}")
    stopper = next((c for c in trainer.callback_handler.callbacks if isinstance(c, StopOnSignal)), None)
    if run.plan.run.do_train:
        started = time.monotonic()
        result = trainer.train(resume_from_checkpoint=str(run.resume) if run.resume else None)
        seconds = max(time.monotonic() - started, 1e-9)
        run.metrics |= {k: v for k, v in result.metrics.items() if isinstance(v, int | float)}
        run.stopped = stopper.name if stopper else ""
        run.metrics |= _speeds(trainer, seconds)
        if run.stopped:
            return
        trainer.save_final(run.output_dir)
        if run.plan.run.plot_loss and trainer.is_world_process_zero():
            plot_loss(trainer.state.log_history, run.output_dir / "training_loss.png", run.plan.stage.metrics)
        if trainer.is_world_process_zero():
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


def _speeds(trainer: Any, seconds: float) -> dict[str, float]:
    """Tokens per second over all processes: all real ones, and those with a label where the trainer counts them."""
    total = getattr(trainer, "tokens_total", 0) or trainer.tokens_seen
    trained = getattr(trainer, "trained_total", 0)
    speeds = {"train_tokens_per_second": round(total / seconds, 2)}
    if trained:
        speeds["train_trained_tokens_per_second"] = round(trained / seconds, 2)
    return speeds


def _finish(run: Run) -> dict[str, Any]:
    from plugtune.training.checkpoint import write_whole
    from plugtune.training.report import RunReport

    template = {"name": run.template.name, "digest": run.template.digest} if run.template else {}
    report = RunReport(
        run.plan, run.output_dir, run.metrics, run.rows.report.as_json(), template, run.stopped, run.devices
    )
    if run.world.main:
        if not run.stopped:
            write_whole(run.output_dir / "all_results.json", json.dumps(run.metrics, indent=1).encode())
        report.write()
        if not run.stopped:
            run.host.hook.plugtune_run_finished(report=report)
    if run.stopped:
        say(f"stopped by {run.stopped}: go on with --resume_from_checkpoint true")
    else:
        say(f"done: {run.output_dir}")
    return report.as_json()


def dry_run(request: Request, host: PluginHost, launch: Launch | None = None) -> dict[str, Any]:
    """Everything up to the weights: the plan, the data report, the processes that the run would start."""
    from plugtune.training.report import resolved_options
    from plugtune.training.sizing import size_run

    run = start(request, host)
    if launch is not None:
        run.plan.choose("launch", launch.line(), launch.why)
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

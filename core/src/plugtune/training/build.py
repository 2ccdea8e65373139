"""From rows and a plan to a trainer: arguments, model, method, callbacks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from plugtune.capabilities import load_ref
from plugtune.training.gathered import Run, say


def make_trainer(run: Run) -> Any:
    """The stage's trainer over the prepared model and rows.

    Raises:
        RequestError: the model, an adapter or an argument is refused.
        RunError: the processes are not what was asked for.
    """
    from transformers import set_seed

    from plugtune.modeling.load import load_model
    from plugtune.modeling.methods import MethodContext, frozen_experts, rest_in_fp32
    from plugtune.modeling.precision import choose_precision
    from plugtune.modeling.request import ModelRequest
    from plugtune.modeling.zero import count
    from plugtune.training.adopt import taken_in
    from plugtune.training.arguments import make_arguments, set_checkpointing
    from plugtune.training.context import TrainerContext
    from plugtune.training.cpu_sharding import let_deepspeed_meet
    from plugtune.training.devices import as_json, check_devices, check_strategy

    plan = run.plan
    precision = choose_precision(plan)
    plan.choose(
        "precision", "bf16" if precision.bf16 else "fp16" if precision.fp16 else precision.weights, precision.why
    )
    # The arguments come before the model: making them lets the processes meet, and sharded loading asks them.
    arguments = make_arguments(plan, precision={"bf16": precision.bf16, "fp16": precision.fp16})
    check_devices(plan, arguments, run.world)
    let_deepspeed_meet(arguments)
    set_seed(plan.run.seed)
    # A frozen bf16 checkpoint is computed in bf16 anyway: only what is not computed in it is widened, losslessly.
    narrow = precision.bf16 and plan.method.saves_adapter and run.located.dtype == "bfloat16"
    narrow = narrow and not (plan.model.adapter_name_or_path or plan.model.quantization_bit)
    weights = "bfloat16" if narrow else precision.weights
    model = load_model(ModelRequest(run.located, plan.model, weights, len(run.tokenizer), plan.run.do_train), run.host)
    if narrow:
        rest_in_fp32(model)
    adapters = [Path(plan.model.adapter_folder or "") / name for name in plan.model.adapter_name_or_path]
    context = MethodContext(
        plan.method_options, plan.model, plan.family, adapters, plan.run.do_train, plan.run.pure_bf16,
        autocast="bfloat16" if precision.bf16 else "",
    )  # fmt: skip
    model = load_ref(plan.method.prepare)(model, context)
    if plan.method.saves_adapter and (frozen := frozen_experts(model)):
        plan.notes.append(
            f"the {frozen:,} weights of routed experts stay as they are; their joint tensors take no adapter"
        )
    trained = count(p for p in model.parameters() if p.requires_grad)
    everything = count(model.parameters())
    plan.choose("trained", f"{trained:,} of {everything:,} parameters", f"method {plan.method.name}")
    if plan.model.print_param_status:
        for name, parameter in model.named_parameters():
            say(f"  {name}: {parameter.dtype}, {'trained' if parameter.requires_grad else 'frozen'}")
    checkpointing = _checkpointing(run, model)
    if checkpointing and hasattr(model, "enable_input_require_grads"):
        model.enable_input_require_grads()
    run.host.hook.plugtune_model_loaded(model=model, plan=plan)
    set_checkpointing(arguments, checkpointing)
    build = load_ref(plan.stage.trainer)
    rows, callbacks = run.rows, _callbacks(run)
    given = TrainerContext(
        plan, model, run.tokenizer, run.template, arguments, rows.train, rows.evaluation, callbacks, run.host
    )
    trainer = taken_in(build(given), given)
    run.devices = as_json(arguments, run.world, check_strategy(trainer, arguments))
    return trainer


def _checkpointing(run: Run, model: Any) -> bool:
    """Recompute activations only when they would not fit: recomputing costs some 40 % of the time."""
    from plugtune.modeling.machine import available_memory
    from plugtune.modeling.memory import estimate
    from plugtune.training.sizing import size_run

    plan = run.plan
    if plan.model.disable_gradient_checkpointing or not plan.run.do_train:
        return False
    for name in ("gradient_checkpointing", "activation_checkpointing"):
        if plan.trainer.get(name) is not None:
            return bool(plan.trainer[name])
    sized = size_run(run, model.config.to_dict())
    if sized is None:
        return False
    plain = estimate(sized.shape, sized.trained, replace(sized.setting, checkpointing=False))
    # Weights are loaded already; what is still to come must fit with room to spare.
    needed, free = plain.peak - plain.weights - plain.imports, available_memory()
    chosen = needed > 0.8 * free
    why = f"about {needed / 2**30:.1f} GiB needed without it, {free / 2**30:.1f} GiB free"
    plan.choose("gradient checkpointing", "on" if chosen else "off", why)
    return chosen


def _callbacks(run: Run) -> list[Any]:
    from transformers import EarlyStoppingCallback

    from plugtune.training.callbacks import LogFile, Progress
    from plugtune.training.checkpoint import step_of
    from plugtune.training.stopping import StopOnSignal
    from plugtune.training.watch import FirstSteps

    run.output_dir.mkdir(parents=True, exist_ok=True)
    step = step_of(run.resume) if run.resume is not None else None
    log = LogFile(run.output_dir / "trainer_log.jsonl", resumed_at=step, writes=run.world.main)
    callbacks: list[Any] = [log, Progress(), StopOnSignal(run.world), FirstSteps(run.plan)]
    if run.plan.run.early_stopping_steps:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=run.plan.run.early_stopping_steps))
    if run.host.hook.plugtune_log.get_hookimpls():
        from plugtune.training.hook_callbacks import LogHook

        callbacks.append(LogHook(run.host, run.plan))
    for answer in run.host.hook.plugtune_callbacks(plan=run.plan):
        callbacks += answer or []
    return callbacks

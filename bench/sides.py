"""What runs inside the processes of a training comparison: one program a side, the step clock in each.

Each is started as `python -c PROGRAM JOB.json ANSWER.json BENCH_FOLDER` and leaves in ANSWER what `StepClock` saw.
"""

OURS = """
import json, sys, time
sys.path.insert(0, sys.argv[3])
import plugtune
from plugtune.options.reader import read_request
from plugtune.plugins.host import PluginHost
from plugtune.training.run import run_training
before = {"reference_wall_s": 0.0, "reference_cpu_s": 0.0}
class Clock:
    @plugtune.hookimpl
    def plugtune_callbacks(self, plan):
        from stepclock import StepClock
        from plugtune.training import reference_numbers
        compute = reference_numbers._compute
        def timed(*args):
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return compute(*args)
            finally:
                before["reference_wall_s"] += time.perf_counter() - wall
                before["reference_cpu_s"] += time.process_time() - cpu
        reference_numbers._compute = timed
        clock = StepClock(sys.argv[2])
        clock.more = before
        return [clock]
host = PluginHost().load()
host.manager.register(Clock(), name="step-clock")
run_training(read_request([f"{k}={v}" for k, v in json.load(open(sys.argv[1])).items()]), host)
"""
"""plugtune as `plugtune train` runs; the reference pass of preference stages is timed beside the steps."""

LLAMAFACTORY = """
import json, sys
sys.path.insert(0, sys.argv[3])
job, out = json.load(open(sys.argv[1])), sys.argv[2]
from stepclock import StepClock
sys.argv = sys.argv[:1]
from llamafactory.train.tuner import run_exp
run_exp(args=job, callbacks=[StepClock(out)])
"""

TRL = """
import json, sys
sys.path.insert(0, sys.argv[3])
from stepclock import StepClock
import torch, trl
from datasets import Dataset, load_from_disk
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, set_seed
job = json.load(open(sys.argv[1]))
stage, size = job["stage"], job["batch"]
set_seed(42)
kept = list(load_from_disk(job["rows"])["train"])
if stage == "sft":
    rows = [{"input_ids": r["input_ids"], "labels": r["labels"]} for r in kept]
elif stage == "dpo":
    rows = [{k: r[k] for k in ("prompt_ids", "chosen_ids", "rejected_ids")} for r in kept]
elif stage == "rm":
    rows = [{k: r["prompt_ids"] + r[k] for k in ("chosen_ids", "rejected_ids")} for r in kept]
else:  # answers to other prompts as trl pairs them: within a batch, each row takes the one before it
    borrowed = [kept[n - 1 if n % size else min(n + size, len(kept)) - 1]["answer_ids"] for n in range(len(kept))]
    rows = [{"prompt_ids": r["prompt_ids"], "completion_ids": r["answer_ids"], "KL_completion_ids": b,
             "label": bool(r["desirable"][0])} for r, b in zip(kept, borrowed)]
kind = {"sft": "SFT", "dpo": "DPO", "rm": "Reward", "kto": "KTO"}[stage]
class InOrder(getattr(trl, kind + "Trainer")):
    def _get_train_sampler(self, *args, **named):
        return torch.utils.data.SequentialSampler(self.train_dataset)
    def _prepare_dataset(self, dataset, *args, **named):
        return dataset if stage != "sft" else super()._prepare_dataset(dataset, *args, **named)
of = AutoModelForSequenceClassification if stage == "rm" else AutoModelForCausalLM
model = of.from_pretrained(job["model"], dtype=torch.float32, **({"num_labels": 1} if stage == "rm" else {}))
lora = None
if job["lora"]:
    from peft import LoraConfig
    task = {"task_type": "SEQ_CLS", "modules_to_save": ["score"]} if stage == "rm" else {"task_type": "CAUSAL_LM"}
    lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", **task)
given = {} if job["checkpointing"] is None else {"gradient_checkpointing": job["checkpointing"]}
settings = getattr(trl, kind + "Config")(output_dir=job["output_dir"], max_steps=job["steps"],
    per_device_train_batch_size=size, learning_rate=1e-4, lr_scheduler_type="constant", warmup_steps=0,
    weight_decay=0.0, seed=42, logging_steps=1, save_strategy="no", report_to=[], use_cpu=True, bf16=job["bf16"],
    disable_tqdm=True, max_length=job["cutoff"], **given)
InOrder(model=model, args=settings, train_dataset=Dataset.from_list(rows), peft_config=lora,
        callbacks=[StepClock(sys.argv[2])], processing_class=AutoTokenizer.from_pretrained(job["model"])).train()
"""
"""trl on the token rows that plugtune prepared."""

BASELINE = """
import json, os, sys, time
from transformers import AutoModelForCausalLM
import torch
model = AutoModelForCausalLM.from_pretrained(json.load(open(sys.argv[1]))["model_name_or_path"], dtype=torch.float32)
float(sum(p.sum() for p in model.parameters()))  # every weight is read
json.dump({"first_step_s": [time.time() - float(os.environ["PLUGTUNE_BENCH_STARTED"]), time.process_time()]},
          open(sys.argv[2], "w"))
"""
"""`import transformers` and reading the weights: what start-up is held against."""

"""Core's option groups, with the argument names and defaults of LLaMA-Factory where it has them.

Options of a stage, a method or an exporter belong to its plugin; fields of `transformers.TrainingArguments` that core
does not read itself stand in `trainer_fields.json`.
"""

from __future__ import annotations

from dataclasses import dataclass

from plugtune.options.schema import option


@dataclass(slots=True)
class ModelOptions:
    """Which model, and how it is loaded."""

    model_name_or_path: str | None = option(
        None, help="Local folder, GGUF file, hub id, or the name of a model (plugtune list models)."
    )
    adapter_name_or_path: list[str] = option([], help="Adapters to continue, stack or merge; a comma list.")
    adapter_folder: str | None = option(None, help="Folder that adapter names are relative to.")
    cache_dir: str | None = option(None, help="Where downloaded models are kept.")
    hub: str | None = option(None, help="Hub that models and data sets come from: huggingface (default), modelscope …")
    model_revision: str = option("main", help="Branch, tag or commit of a hub model.")
    hf_hub_token: str | None = option(None, help="Hugging Face access token.")
    ms_hub_token: str | None = option(None, help="ModelScope access token.")
    allow_plugin_change: bool = option(
        False, help="Go on although plugins differ from those that the checkpoint or the model was made with."
    )
    trust_remote_code: bool = option(False, help="Run Python code that comes with the model. Off unless you ask.")
    use_fast_tokenizer: bool = option(True, help="Use the fast (Rust) tokenizer.")
    split_special_tokens: bool = option(False, help="Split special tokens that occur in the text of rows.")
    add_tokens: list[str] = option([], help="New ordinary tokens; a comma list. The vocabulary is resized.")
    add_special_tokens: list[str] = option([], help="New special tokens; a comma list. The vocabulary is resized.")
    resize_vocab: bool = option(False, help="Resize the embeddings to the tokenizer's vocabulary.")
    rope_scaling: str | None = option(
        None, help="Longer context by scaling rotary positions.", choices=("linear", "dynamic", "yarn", "llama3")
    )
    flash_attn: str = option(
        "auto", help="Attention implementation.", choices=("auto", "disabled", "eager", "sdpa", "fa2", "fa3")
    )
    compute_dtype: str = option(
        "auto", help="Dtype the weights are loaded in for training.", choices=("auto", "float32", "bfloat16", "float16")
    )
    infer_dtype: str = option(
        "auto", help="Dtype for inference and export.", choices=("auto", "float32", "bfloat16", "float16")
    )
    train_from_scratch: bool = option(False, help="Start from random weights of the model's config.")
    disable_gradient_checkpointing: bool = option(False, help="Never recompute activations in the backward pass.")
    quantization_bit: int | None = option(None, help="Bits of a quantized base (QLoRA).", choices=(4, 8))
    quantization_method: str = option("bnb", help="How the base is quantized on loading.", choices=("bnb",))
    quantization_type: str = option("nf4", help="4-bit data type.", choices=("nf4", "fp4"))
    double_quantization: bool = option(True, help="Quantize the quantization constants of a 4-bit base too.")
    print_param_status: bool = option(False, help="List every parameter with its dtype and whether it is trained.")


@dataclass(slots=True)
class DataOptions:
    """Which rows, and how they become tokens."""

    dataset: list[str] = option([], help="Data sets: names in dataset_info.json, or file paths; a comma list.")
    eval_dataset: list[str] = option([], help="Data sets for evaluation; a comma list.")
    dataset_dir: str = option("data", help="Folder with dataset_info.json and data files.")
    dataset_info: list[str] = option([], help="Further dataset_info.json files to merge; a comma list.")
    allow_dataset_scripts: bool = option(False, help="Run loading scripts named by script_url.")
    template: str = option("auto", help="Chat template: a name, a YAML file, or auto for the tokenizer's own.")
    tool_format: str | None = option(None, help="How tools and tool calls are written, instead of the template's way.")
    default_system: str | None = option(None, help="System prompt of rows that name none.")
    enable_thinking: bool = option(True, help="Thinking mode of reasoning templates.")
    cutoff_len: int = option(2048, help="Longest row in tokens.", minimum=4)
    long_rows: str = option("cut", help="What happens to longer rows.", choices=("cut", "drop", "split", "error"))
    max_bad_rows: int = option(0, help="How many unreadable rows are tolerated (counted and reported).", minimum=0)
    train_on_prompt: bool = option(False, help="Train on prompts too.")
    mask_history: bool = option(False, help="Train on the last answer only.")
    max_samples: int | None = option(None, help="Use the first N rows of each data set.", minimum=1)
    mix_strategy: str = option(
        "concat",
        help="How several data sets are mixed.",
        choices=("concat", "interleave_under", "interleave_over", "interleave_once"),
    )
    interleave_probs: list[float] = option([], help="Probability of each data set when interleaving; a comma list.")
    val_size: float = option(0.0, help="Rows kept for evaluation: a number, or a fraction below 1.", minimum=0)
    eval_on_each_dataset: bool = option(False, help="Evaluate on each evaluation data set by itself.")
    packing: bool | None = option(None, help="Join short rows into long ones (on in pre-training).")
    neat_packing: bool = option(False, help="Same as packing: packed rows never see each other here.")
    packing_length: int | None = option(
        None,
        help="Tokens of a pack, cutoff_len when left out; with one pack a batch, a step's token budget.",
        minimum=4,
    )
    padding_free: bool = option(True, help="Lay the rows of a batch end to end instead of padding them.")
    streaming: bool = option(False, help="Read rows while training instead of before it.")
    buffer_size: int = option(16384, help="Rows shuffled at a time when streaming.", minimum=1)
    overwrite_cache: bool = option(False, help="Tokenize again even if the cache has these rows.")
    tokenized_path: str | None = option(None, help="Folder to keep the tokenized rows in, or to load them from.")
    preprocessing_batch_size: int = option(1000, help="Rows tokenized at a time.", minimum=1)
    preprocessing_num_workers: int | None = option(None, help="Worker processes for preparing rows.", minimum=1)


@dataclass(slots=True)
class RunOptions:
    """What is done and what is left behind."""

    stage: str = option("sft", help="Training stage (plugtune list stages).")
    finetuning_type: str = option("lora", help="Tuning method (plugtune list methods).")
    do_train: bool = option(False, help="Train.")
    do_eval: bool = option(False, help="Evaluate the loss.")
    do_predict: bool = option(False, help="Generate answers and score them (needs predict_with_generate).")
    predict_with_generate: bool = option(False, help="Generate in do_predict.")
    output_dir: str | None = option(None, help="Folder for everything the run leaves.")
    overwrite_output_dir: bool = option(False, help="Allow an output_dir that holds an earlier run.")
    resume_from_checkpoint: str | None = option(None, help="A checkpoint folder, or true for the newest whole one.")
    logging_dir: str | None = option(None, help="Folder of TensorBoard's event files.")
    plot_loss: bool = option(False, help="Save training_loss.png.")
    early_stopping_steps: int | None = option(
        None, help="Stop after so many evaluations without improvement.", minimum=1
    )
    launcher: str | None = option(
        None, help="What starts the processes (plugtune list launchers); torchrun when left out."
    )
    seed: int = option(42, help="Seed of everything random.", minimum=0)
    disable_shuffling: bool = option(False, help="Train on rows in the order of the files.")
    pure_bf16: bool = option(False, help="Weights and optimizer states in bf16, without mixed precision.")
    plain_loss: bool = option(False, help="Compute the plain padded way, to compare with.")


@dataclass(slots=True)
class GenerationOptions:
    """How answers are generated."""

    do_sample: bool = option(True, help="Sample instead of taking the likeliest token.")
    temperature: float = option(0.95, help="Sampling temperature.", minimum=0)
    top_p: float = option(
        0.7, help="Nucleus sampling: keep the likeliest tokens up to this mass.", minimum=0, maximum=1
    )
    top_k: int = option(50, help="Keep the k likeliest tokens; 0 keeps all.", minimum=0)
    num_beams: int = option(1, help="Beams of beam search.", minimum=1)
    max_new_tokens: int = option(1024, help="Longest answer.", minimum=1)
    repetition_penalty: float = option(1.0, help="Above 1 discourages repetition.", minimum=0)
    length_penalty: float = option(1.0, help="Above 0 favours long answers in beam search.")
    skip_special_tokens: bool = option(True, help="Leave special tokens out of the shown answer.")


@dataclass(slots=True)
class ExportOptions:
    """What an export writes."""

    export_dir: str | None = option(None, help="Folder to write.")
    export_size: float = option(5, help="Largest shard in GB.", minimum=0.001)
    export_legacy_format: bool = option(False, help="Write pickled .bin weights; refused, safetensors only.")
    exporter: str = option("merged", help="Exporter (plugtune list exporters).")
    verify: bool = option(False, help="Open the export again and compare prompts and greedy answers with the model.")
    export_hub_model_id: str | None = option(None, help="Hub repository (owner/name) that the export is uploaded to.")


TRAIN_GROUPS: dict[str, type] = {
    "model": ModelOptions,
    "data": DataOptions,
    "run": RunOptions,
    "generation": GenerationOptions,
}
"""Groups of `plugtune train`, by owner."""

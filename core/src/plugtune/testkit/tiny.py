"""Tiny random checkpoints of any installed family, for tests and plugin authors.

    from plugtune.testkit import tiny
    folder = tiny.make("llama", tmp_path / "model")

The folder holds what a download would: config.json, weights, tokenizer files; some 50,000 parameters, random but the
same for the same seed. A family whose checkpoints have a layout of their own names its maker (`ModelFamily.tiny`);
for all others the config class that transformers registers for the model type is made small here, with every config
inside it, and `ModelFamily.small` says what is special about a model type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugtune.capabilities import ModelFamily, load_ref
from plugtune.errors import RequestError
from plugtune.templating.model import ChatTemplate, Token

SMALL: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "ffn_hidden_size": 64, "num_hidden_layers": 2, "num_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "kv_channels": 8, "rotary_dim": 4,
    "max_position_embeddings": 512, "sliding_window": 64, "tie_word_embeddings": False,
    "shared_intermediate_size": 32, "intermediate_size_mlp": 64, "num_nextn_predict_layers": 0,
    # heads of layers that see everything, between layers that see a window
    "global_head_dim": 8, "num_global_key_value_heads": 2,
    # embeddings and keys of layers
    "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0, "laurel_rank": 8,
    # mixtures of experts
    "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "n_shared_experts": 1,
    "n_group": 1, "topk_group": 1, "num_dense_layers": 1,
    "first_k_dense_replace": 1, "moe_layer_start_index": 1, "moe_num_experts": 4, "moe_k": 2,
    # latent attention
    "q_lora_rank": None, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8,
    # an index of the tokens to attend to
    "index_topk": 8, "index_n_heads": 2, "index_head_dim": 8,
    # linear attention
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
    "linear_num_heads": 4, "linear_head_dim": 8,
    # state spaces
    "mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": 16,
    "mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 8, "chunk_size": 16, "n_groups": 1,
    "use_mamba_kernels": False, "attn_layer_period": 2, "attn_layer_offset": 1,
    # what sees and hears beside the text model
    "depth": 2, "num_heads": 4, "image_size": 32, "patch_size": 16, "projector_input_dim": 32,
    "projector_output_dim": 32, "vision_output_dim": 32, "out_hidden_size": 32, "num_position_embeddings": 16,
    "conf_num_hidden_layers": 2, "conf_num_attention_heads": 4, "sscp_conv_channel_size": (8, 8),
    "mm_tokens_per_image": 4,
}  # fmt: skip
"""Config values that make a model tiny; each is used only by config classes that have a field of that name."""

WORDS = (
    "The quick brown fox answers questions about fine-tuning.",
    "def main() -> None:\n    print('hello, world')\n",
    "你好，我是一个助手。请问有什么可以帮您？保持健康的三个提示。",
    "# 3 tips for staying healthy: eat well, sleep well, move. 0123456789",
)
"""What the tiny tokenizers are trained on; bytes cover everything else."""

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The chat template of tokenizers that bring one."""

ROOM = 64
"""Rows of the embeddings beyond the tokenizer's tokens."""


def make(family: str, folder: Path, *, model_type: str = "", seed: int = 0, host: Any = None, **values: Any) -> Path:
    """Write a tiny random checkpoint of a family into a folder, and return the folder.

    Args:
        family: a family's name (`plugtune list families`).
        folder: where to write; made when it is not there.
        model_type: which of the family's model types; the first it claims (or shares) when left out.
        seed: of the weights.
        host: a loaded plugin host; the installed plugins when left out.
        values: config values that win over all others; not for families with a maker of their own.

    Raises:
        PluginError: no plugin provides the family.
        RequestError: the family claims no such model type, or transformers does not know it and the family names no
            maker.
    """
    if host is None:
        from plugtune.plugins.host import PluginHost

        host = PluginHost().load()
    claimed: ModelFamily = host.catalog.get("family", family)
    kinds = claimed.model_types or claimed.like
    kind = model_type or next(iter(kinds), "")
    if kind not in kinds:
        raise RequestError(
            f"family {family!r} claims no model type {kind!r}", fix=f"one of {', '.join(kinds)}" if kinds else ""
        )
    owner: ModelFamily = next((f for f in host.catalog.all("family") if kind in f.model_types), claimed)
    folder.mkdir(parents=True, exist_ok=True)
    if owner.tiny:
        load_ref(owner.tiny)(folder, kind, seed)
        return folder
    names = {name for name in (claimed.template, *(m.template for m in claimed.models)) if name not in ("", "auto")}
    templates = [host.catalog.get("template", name) for name in sorted(names)]
    own = claimed.template in ("", "auto")
    specials = [*special_tokens(templates), *(["<|im_start|>", "<|im_end|>"] if own else [])]
    tokenizer = write_tokenizer(folder, specials, chat_template=CHATML if own else None)
    write_native(folder, kind, tokenizer=tokenizer, seed=seed, **{**owner.small.get(kind, {}), **values})
    return folder


def write_native(folder: Path, model_type: str, *, tokenizer: Any, seed: int = 0, **values: Any) -> Any:
    """A tiny random model of a type that transformers knows, saved into the folder; returns the model.

    Args:
        tokenizer: the tokenizer it goes with; gives the vocabulary's size and the special ids.
        values: config values that win over the small ones of this page.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    config = small_config(model_type, tokenizer, **values)
    # A model that also sees is published whole; of some, transformers reads the text part alone.
    kind = AutoModelForImageTextToText if config.get_text_config() is not config else AutoModelForCausalLM
    torch.manual_seed(seed)
    model = kind.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    return model


def small_config(model_type: str, tokenizer: Any, **values: Any) -> Any:
    """The config of a model type with every size made small, in the configs inside it (`text_config` …) too.

    Raises:
        RequestError: transformers does not know the model type.
    """
    from transformers import AutoConfig

    try:
        kind = type(AutoConfig.for_model(model_type))
    except ValueError as error:
        raise RequestError(
            f"transformers knows no model type {model_type!r}", fix="the family must name a tiny maker of its own"
        ) from error
    names = {f"{part}_token_id": getattr(tokenizer, f"{part}_token_id") for part in ("bos", "eos", "pad")}
    # With room for the special tokens that some architectures' tokenizer classes add when they load it.
    names |= dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), len(tokenizer) + ROOM)
    return _small(kind, names, values)


def _small(kind: type[Any], names: dict[str, Any], values: dict[str, Any]) -> Any:
    usual = kind()
    small = SMALL | names | values
    known = usual.to_dict()
    if known.get("index_topk"):  # the index is computed from the queries' low-rank form
        small |= {"q_lora_rank": 16, **values}
    if known.get("qk_rope_head_dim"):  # latent attention rotates a part of the head, and has a key for every head
        small |= {"head_dim": SMALL["qk_rope_head_dim"], "num_key_value_heads": SMALL["num_attention_heads"]} | values
    if known.get("layer_types"):  # one layer of each kind, in the order in which they first stand
        kinds = list(dict.fromkeys(known["layer_types"]))
        small = {"layer_types": [kinds[i % len(kinds)] for i in range(SMALL["num_hidden_layers"])]} | small
    inner = {name: getattr(usual, name, None) for name in getattr(kind, "sub_configs", {})}
    small = {name: _small(type(c), names, values.get(name, {})) for name, c in inner.items() if c is not None} | {
        name: value for name, value in small.items() if name not in inner
    }
    # Some classes call these fields otherwise (`n_layer`); attribute_map says how.
    fields = set(known) | (set(getattr(kind, "attribute_map", {})) - {"layer_types"})
    return kind(**{k: v for k, v in small.items() if k in fields or k in values})


def write_tokenizer(
    folder: Path, specials: Sequence[str], *, bos: str = "<s>", eos: str = "</s>", chat_template: str | None = None
) -> Any:
    """A small byte-level BPE tokenizer with these special tokens, saved into the folder; returns it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=list(dict.fromkeys(("<pad>", bos, eos, *specials))),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator(WORDS, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=bos, eos_token=eos, pad_token="<pad>", clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    return tokenizer


def special_tokens(templates: Sequence[ChatTemplate]) -> list[str]:
    """Texts in templates that their models' vocabularies hold as one token: token pieces, stop words, `<|…|>` marks."""
    found: dict[str, None] = {}
    for template in templates:
        pieces = (*template.prefix, *template.system, *template.user, *template.assistant, *template.tool)
        found |= dict.fromkeys(piece.text for piece in pieces if isinstance(piece, Token))
        found |= dict.fromkeys(word for word in template.stop if word.strip() == word)
        for piece in pieces:
            if isinstance(piece, str):
                found |= dict.fromkeys(re.findall(r"<[|｜][^<>]+?[|｜]>|<[a-z]+(?:_[a-z]+)+>|</?think>", piece))
    return list(found)


def write_original(folder: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], seed: int) -> None:
    """A checkpoint in a layout of its own: config.json as given and random weights under the given names.

    Matrices get values of the size 1/√inputs, so that logits have a spread of about one; names with `norm` or `ln_`
    get values around 1, biases small ones.
    """
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            norm = "norm" in name or ".ln_" in name
            values = 1 + 0.1 * values if norm else 0.1 * values
        elif "embed" not in name and "wte" not in name:
            values = values / torch.tensor(shape[1:]).prod().sqrt()
        tensors[name] = values
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", config)


def llama_shapes(config: Mapping[str, Any], *, head: bool = True) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes of a LLaMA checkpoint with as many keys as queries; others share most of its names.

    Args:
        config: `hidden_size`, `intermediate_size`, `num_hidden_layers` and `vocab_size` are read.
        head: whether there is an output head apart from the embeddings.
    """
    size, ffn, vocabulary = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    names: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, size), "model.norm.weight": (size,)}
    if head:
        names["lm_head.weight"] = (vocabulary, size)
    for n in range(config["num_hidden_layers"]):
        block = f"model.layers.{n}"
        names |= {f"{block}.self_attn.{part}_proj.weight": (size, size) for part in "qkvo"}
        names |= {f"{block}.{part}_layernorm.weight": (size,) for part in ("input", "post_attention")}
        names |= gated_shapes(f"{block}.mlp", size, ffn)
    return names


def gated_shapes(name: str, size: int, width: int) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes of a gated block between `size` and `width`."""
    wide = {f"{name}.{part}_proj.weight": (width, size) for part in ("gate", "up")}
    return {**wide, f"{name}.down_proj.weight": (size, width)}


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """A JSON file as published ones look."""
    file.write_text(json.dumps(dict(values), indent=2, ensure_ascii=False), encoding="utf-8")


def train_sentencepiece(file: Path, *, vocabulary: int = 480, **options: Any) -> None:
    """A small SentencePiece BPE model with byte fallback, trained on this page's words; needs `sentencepiece`."""
    import io

    import sentencepiece

    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in WORDS * 4 for line in text.splitlines()]), model_writer=stream,
        vocab_size=vocabulary, model_type="bpe", byte_fallback=True, character_coverage=1.0, num_threads=1,
        minloglevel=2, **options,
    )  # fmt: skip
    file.write_bytes(stream.getvalue())

"""The files that a model server reads, made as `tools.make_tiny_model` makes them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.trainers import BpeTrainer
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2TokenizerFast,
    Qwen2VLImageProcessor,
)

from tools.make_tiny_model import (
    CHAT_TEMPLATE,
    MAX_PIXELS,
    MIN_PIXELS,
    SPECIAL_TOKENS,
    SPLIT_PATTERN,
)
from tools.micro_model.network import EPS, MEAN, MERGE, PATCH, STD, TEMPORAL, Shape

WORDS = 768
"""Entries of the vocabulary: enough for nearly every word of the questions to be one token."""


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """A small byte-level tokenizer that knows the words of the texts."""
    core = Tokenizer(BPE(byte_fallback=False))
    core.normalizer = NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = BpeTrainer(
        vocab_size=WORDS - len(SPECIAL_TOKENS),
        min_frequency=1,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    core.train_from_iterator(texts, trainer)
    core.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return core


def rows_of(tokenizer: Tokenizer) -> int:
    """Rows of the embeddings: a multiple of 64, as in the original."""
    return 64 * math.ceil(tokenizer.get_vocab_size() / 64)


def config_of(tokenizer: Tokenizer, shape: Shape) -> Qwen2_5_VLConfig:
    """The description of a model of that shape."""
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
    return Qwen2_5_VLConfig(
        architectures=["Qwen2_5_VLForConditionalGeneration"],
        text_config={
            "vocab_size": shape.vocabulary,
            "hidden_size": shape.hidden,
            "intermediate_size": shape.intermediate,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads,
            "max_position_embeddings": 4096,
            "rms_norm_eps": EPS,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": shape.rope_theta,
                "mrope_section": list(shape.mrope),
            },
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": False,
        },
        vision_config={
            "depth": shape.vision_layers,
            "hidden_size": shape.vision_hidden,
            "intermediate_size": shape.vision_intermediate,
            "num_heads": shape.vision_heads,
            "out_hidden_size": shape.hidden,
            # Either way of attention sees a whole picture of 8 x 8 patches.
            "fullatt_block_indexes": list(range(1, shape.vision_layers, 2)),
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": TEMPORAL,
            "window_size": 112,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
        dtype="float16",
    )


def for_transformers_4(dest: Path) -> None:
    """Let transformers 4 read the folder, too, as vendors' images have it.

    It asks the text's configuration for the architecture, knows rotary settings by their older
    names and special tokens as a list of theirs, and looks for the processor's name beside the
    image settings.
    """

    settings = _read(dest / "preprocessor_config.json")
    settings["processor_class"] = "Qwen2_5_VLProcessor"
    _write(dest / "preprocessor_config.json", settings)
    config = _read(dest / "config.json")
    text = config["text_config"]
    text["architectures"] = config["architectures"]
    text["rope_theta"] = text["rope_parameters"]["rope_theta"]
    sections = text["rope_parameters"]["mrope_section"]
    text["rope_scaling"] = {"type": "mrope", "mrope_section": sections}
    _write(dest / "config.json", config)
    settings = _read(dest / "tokenizer_config.json")
    if "extra_special_tokens" in settings:
        settings["additional_special_tokens"] = settings.pop("extra_special_tokens")
    _write(dest / "tokenizer_config.json", settings)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _write(path: Path, settings: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def write_folder(
    dest: Path, tokenizer: Tokenizer, shape: Shape, weights: Mapping[str, torch.Tensor]
) -> None:
    """Write everything but the model card and the graphs."""
    dest.mkdir(parents=True, exist_ok=True)
    config = config_of(tokenizer, shape)
    config.save_pretrained(dest)
    ids = tokenizer.token_to_id
    GenerationConfig(
        bos_token_id=ids("<|endoftext|>"),
        pad_token_id=ids("<|endoftext|>"),
        eos_token_id=[ids("<|im_end|>"), ids("<|endoftext|>")],
        do_sample=False,
    ).save_pretrained(dest)
    Qwen2TokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        bos_token=None,
        additional_special_tokens=[t for t in SPECIAL_TOKENS if t != "<|endoftext|>"],
        model_max_length=4096,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(dest)
    Qwen2VLImageProcessor(
        size={"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        patch_size=PATCH,
        temporal_patch_size=TEMPORAL,
        merge_size=MERGE,
        image_mean=list(MEAN),
        image_std=list(STD),
    ).save_pretrained(dest)
    for_transformers_4(dest)
    # Transformers writes the same names for this architecture; "format" is what it checks.
    save_file(dict(weights), dest / "model.safetensors", metadata={"format": "pt"})
    (dest / "model.safetensors").chmod(0o644)

"""Write a tiny Qwen2.5-VL with seeded random weights, for tests that need a real model server.

    python make_tiny_model.py DEST [--seed N] [--force]

The architecture, the file layout and the chat format are those of Qwen2.5-VL, with 1.4 million
parameters instead of billions, so a server loads it in a moment and answers on a CPU. What it
says means nothing. It is made so that the answers are still useful in tests: they differ from
question to question and depend on the picture, the text is valid UTF-8 with some Chinese in it,
digits and the letters A to E come up often enough to be graded, and some answers end by themselves
while others run into ``max_tokens``.

Nothing is downloaded. The same seed and the same library versions give the same bytes. Run it
with the Python of the environment that ``vllm_cpu_env.sh`` makes: it needs torch and transformers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
from pathlib import Path

# The trainer counts pairs in threads; one thread leaves no room for a different order.
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.trainers import BpeTrainer
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2TokenizerFast,
    Qwen2VLImageProcessor,
)

# In the order of the original, so that the vision tokens come after the chat tokens.
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

# Qwen2's own split: single digits, words with their leading space, runs of other characters.
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Enough text to learn whole words in both languages; any other text falls back to bytes.
CORPUS = (
    "How many different digits can you find in this picture?",
    "Which number do you have to write in the last box? Which picture shows the same shape?",
    "What is the area of the triangle in the figure? What is the length of the side of the square?",
    "Please answer the question and put the final answer in the box. The answer is (A).",
    "Answer with the letter of the correct option. Options: A. one B. two C. three D. four E. five",
    "You are a helpful assistant. Look at the image and think step by step.",
    "The circle is to the left of the square. The red point is between the other two.",
    "The sum of the angles in the triangle is 180 degrees, so the angle is equal to 60 degrees.",
    "Therefore the total number of small cubes is 12, so the probability is 1/3. Answer: 42.",
    "图中一共有多少个不同的数字？请看图回答问题。",
    "这个三角形的面积是多少？正方形的边长是多少厘米？",
    "请选择正确的选项，并给出最终答案。正确答案是（A）。",
    "下面哪个图形与左边的图形相同？红色的点在直线上。",
    "因为三角形的内角和等于180度，所以这个角等于60度。",
    "一共有12个小正方体，所以答案是12。最终答案：3。",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}"
    "{{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part or 'image_url' in part %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' or 'video' in part %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}"
    "{{ part['text'] }}"
    "{% endif %}"
    "{% endfor %}"
    "{% endif %}"
    "<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# 28 x 28 pixels are one image token. The upper bound is the 1280 tokens that the original's authors
# suggest, not its default of 16384, which a short context and a CPU cannot hold.
MIN_PIXELS = 4 * 28 * 28
MAX_PIXELS = 1280 * 28 * 28

# How loud a token is in the output layer, where an ordinary word is 1. Tried out so that about a
# third of the greedy answers end within 32 tokens; digits and option letters come up often; a piece
# of a character and a special token never do.
STOP_GAIN = 3.0
ANSWER_GAIN = 1.5
FRAGMENT_GAIN = 0.05


def build_tokenizer() -> Qwen2TokenizerFast:
    """Train the small byte-level tokenizer and give it the special tokens of the original."""
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
        vocab_size=2048,  # an upper bound; the corpus runs out of pairs before that
        min_frequency=1,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    core.train_from_iterator(CORPUS, trainer)
    core.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS])
    return Qwen2TokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token=None,
        bos_token=None,
        additional_special_tokens=[t for t in SPECIAL_TOKENS if t != "<|endoftext|>"],
        model_max_length=32768,
    )


def build_config(tokenizer: Qwen2TokenizerFast) -> Qwen2_5_VLConfig:
    """Describe the model; the vocabulary is padded to a multiple of 64, as the original's is."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    return Qwen2_5_VLConfig(
        architectures=["Qwen2_5_VLForConditionalGeneration"],
        text_config={
            "vocab_size": 64 * math.ceil(len(tokenizer) / 64),
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32768,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1000000.0,
                "mrope_section": [4, 6, 6],  # halves of the 32-wide heads: time, height, width
            },
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "tie_word_embeddings": False,
        },
        vision_config={
            "depth": 4,
            "hidden_size": 64,
            "intermediate_size": 192,
            "num_heads": 2,
            "out_hidden_size": 128,
            "fullatt_block_indexes": [1, 3],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=False,
        dtype="float32",
    )


def output_gains(tokenizer: Qwen2TokenizerFast, rows: int) -> torch.Tensor:
    """Say how loud each token is in the output layer."""
    gains = torch.full((rows, 1), FRAGMENT_GAIN)  # the padding rows and the special tokens
    answers = set("ABCDE0123456789")
    for token_id in range(len(tokenizer)):
        text = tokenizer.decode([token_id])
        if text in SPECIAL_TOKENS:
            continue
        # A token that holds part of a character cannot be read by itself.
        if "\N{REPLACEMENT CHARACTER}" not in text and text.isprintable():
            gains[token_id] = ANSWER_GAIN if text.strip() in answers else 1.0
    gains[tokenizer.eos_token_id] = STOP_GAIN
    return gains


def build_model(
    config: Qwen2_5_VLConfig, tokenizer: Qwen2TokenizerFast, seed: int
) -> Qwen2_5_VLForConditionalGeneration:
    """Fill the model from one generator, in the order of the parameter names."""
    model = Qwen2_5_VLForConditionalGeneration(config).to(torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.ndim == 1:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            # Unit-variance activations. The usual 0.02 would drown the picture in the text and let
            # every prompt end in the same answer.
            fan_in = 1 if "embed_tokens" in name else parameter[0].numel()
            values = torch.randn(parameter.shape, generator=generator) / math.sqrt(fan_in)
            parameter.copy_(values)
        model.lm_head.weight.mul_(output_gains(tokenizer, model.lm_head.weight.shape[0]))
    return model


def write_model(dest: Path, seed: int) -> int:
    """Write every file that a server reads to ``dest``; return the number of parameters."""
    tokenizer = build_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE
    config = build_config(tokenizer)
    model = build_model(config, tokenizer, seed)
    # The sampling defaults of the original, which a server takes over unless told otherwise.
    model.generation_config.update(
        bos_token_id=tokenizer.pad_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"]),
        do_sample=True,
        repetition_penalty=1.05,
        temperature=1e-6,
    )
    model.save_pretrained(dest)
    tokenizer.save_pretrained(dest)
    images = Qwen2VLImageProcessor(
        size={"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS},
        patch_size=14,
        temporal_patch_size=2,
        merge_size=2,
    )
    images.save_pretrained(dest)
    # Older readers look for the processor's name beside the image settings.
    path = dest / "preprocessor_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["processor_class"] = "Qwen2_5_VLProcessor"
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return sum(parameter.numel() for parameter in model.parameters())


def main(argv: list[str] | None = None) -> int:
    """Read the command line and write the model."""
    parser = argparse.ArgumentParser(description="Write a tiny random Qwen2.5-VL model.")
    parser.add_argument("dest", type=Path, help="folder to write")
    parser.add_argument("--seed", type=int, default=20260401, help="seed of the weights")
    parser.add_argument("--force", action="store_true", help="replace an earlier model")
    args = parser.parse_args(argv)
    dest: Path = args.dest
    if dest.exists():
        earlier = (dest / "model.safetensors").is_file() and (dest / "config.json").is_file()
        if not (earlier and args.force) and any(dest.iterdir()):
            print(f"make_tiny_model: {dest} is not empty (see --force)", file=sys.stderr)
            return 1
    dest.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and moved, so that a broken run leaves no half model behind.
    with tempfile.TemporaryDirectory(dir=dest.parent, prefix=f".{dest.name}-") as scratch:
        made = Path(scratch) / "model"
        parameters = write_model(made, args.seed)
        if dest.exists():
            shutil.rmtree(dest)
        made.rename(dest)
    print(f"make_tiny_model: {parameters} parameters, seed {args.seed}: {dest}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

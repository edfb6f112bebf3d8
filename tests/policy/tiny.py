"""Making the tiny checkpoints, and histories to ask them with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from rsagent import _torchvision
from rsagent.policy.protocol import History, ImagePart, Message

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CORPUS = [
    "system user assistant segment the red fox left of the bell",
    '<think>look at it</think><tool_call>{"name": "segment", "arguments": {"bbox_2d": [1, 2, 3, 4]}}</tool_call>',
    "an été in Ōsaka: 東京 “quoted”",
]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    # Wide enough that a random model's favourite token wins by far more than rounding moves it.
    "initializer_range": 0.3,
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]}


def save_tiny(kind: str, directory: Path) -> Path:
    """Write a random checkpoint of architecture `kind` to `directory`."""
    _torchvision.prepare()
    from transformers import Qwen2VLImageProcessor

    patch = 14 if kind == "qwen2_5_vl" else 16
    tokenizer = _tokenizer()
    torch.manual_seed(7)
    model = _model(kind, {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}, len(tokenizer), patch)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    Qwen2VLImageProcessor(patch_size=patch, min_pixels=1024, max_pixels=50176).save_pretrained(directory)
    return directory


def _tokenizer() -> Any:
    import transformers

    wrap: Any = transformers.PreTrainedTokenizerFast
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    fast = wrap(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.add_tokens(["<tool_call>", "</tool_call>"])
    fast.chat_template = TEMPLATE
    return fast


def _model(kind: str, ids: dict[str, int], vocabulary: int, patch: int) -> Any:
    import transformers

    newer = kind == "qwen3_vl"
    vision: dict[str, Any] = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": patch,
    }
    if newer:
        vision |= {"out_hidden_size": 64, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
    else:
        vision |= {"out_hidden_size": 64, "window_size": 56, "fullatt_block_indexes": [1]}
    ends = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"], "bos_token_id": None}
    rope = ROPE | ({"mrope_interleaved": True} if newer else {})
    text = TEXT | ends | {"vocab_size": vocabulary, "rope_parameters": rope}
    if newer:
        text["head_dim"] = 16
    family: Any = transformers
    name = "Qwen3VL" if newer else "Qwen2_5_VL"
    config = getattr(family, f"{name}Config")(
        text_config=text,
        vision_config=vision | {"initializer_range": 0.3},
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    return getattr(family, f"{name}ForConditionalGeneration")(config).eval()


def picture(seed: int, width: int = 112, height: int = 112, factor: int = 28) -> ImagePart:
    """Noise, its sides rounded to `factor`."""
    sides = (height // factor * factor, width // factor * factor, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, sides, dtype=np.uint8)
    return ImagePart(f"{seed}-{width}-{height}", pixels)


def first_turn(seed: int, factor: int, query: str = "segment the red fox") -> History:
    """A system message and a picture with a sentence."""
    return (
        Message.of("system", "look and segment"),
        Message.of("user", picture(seed, 112 + 32 * (seed % 3), 96, factor), query),
    )


def next_turn(history: History, reply: str, seed: int, factor: int) -> History:
    """The history after `reply` and an observation with a picture of its own."""
    return (
        *history,
        Message.of("assistant", reply),
        Message.of("user", picture(1000 + seed, 128, 128, factor), "mask 1: area 3 %. Better?"),
    )


def rewrite_json(path: Path, **changes: Any) -> None:
    """Change values of a JSON file; None removes one."""
    value = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: item for key, item in value.items() if item is not None}))

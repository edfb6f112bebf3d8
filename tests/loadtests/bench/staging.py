"""What the benchmark's tests share: a quick stage to record on, and figures of a run that never was."""

from __future__ import annotations

from pathlib import Path

from loadtests.bench.account import Account
from loadtests.bench.clients import Asked
from loadtests.bench.contenders import Played
from loadtests.bench.recording import Library, Recording, Sketch, Stage, record
from tokenizers import Tokenizer

import rsagent
from rsagent.agent import dialects
from rsagent.policy.protocol import ViewSpec

VIEW = ViewSpec(max_pixels=64 * 64, factor=32)
NANO = Path(rsagent.__file__).parent / "policy" / "weights" / "nano" / "tokenizer.json"


def stage(tokenizer: Tokenizer | None = None, mask_side: int = 16) -> Stage:
    """The nano's dialect and tokenizer, a segmenter that fills boxes."""
    return Stage(dialects.get("nano"), VIEW, tokenizer or Tokenizer.from_file(str(NANO)), Sketch(mask_side))


def library(folder: Path, *turns: int) -> tuple[Library, list[Recording]]:
    """A library with an episode of each length, numbered from 0."""
    kept = Library(folder)
    for number, length in enumerate(turns):
        kept.add(record(stage(), number, length))
    return kept, kept.several(range(len(turns)))


def played(rate: float, episodes: int = 4, cpu: float = 1.0) -> Played:
    """A round at so many episodes a second, without a fault."""
    account = Account(
        episodes=episodes,
        turns=4 * episodes,
        encodes=episodes,
        decodes=4 * episodes,
        images=4 * episodes,
        images_sent=4 * episodes,
        prompt_tokens=1000 * episodes,
        cached_tokens=600 * episodes,
        conversation_tokens=400 * episodes,
        completion_tokens=160 * episodes,
    )
    return Played(episodes / rate, {"service": cpu}, account, (Asked(0.01, (0.2, 0.4, 0.5), 0.6, {}),))

"""All that can be set about a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rsagent.training.chat.adapting import Part
from rsagent.training.rl.objective import Clip, Credit, Scale
from rsagent.training.rl.rewards import WEIGHTS

Learned = Literal["train", "val"]
Practice = Literal["none", "sentences", "phrasings", "both"]
Guided = Literal["none", "present", "all"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run goes.

    Each step plays `requests` × `group` episodes of up to `turns` turns, `each` requests at the most about one scene,
    which is looked at and encoded once, and goes `passes` times over the share of them, `keep`, that differs most from
    its group, in `updates` updates each time.
    With `credit` "episode" an episode's advantage holds for all its tokens, with "branch" for those at which it parts
    from others of its group (`objective.branching`; `scale` does not matter then). Tokens to which less than `least` is
    due, either way, are left out, and what is due below nothing counts `blame` times.
    With `guided` each group that has failed gets one episode more, ended by the expert (`guide.py`): "present" where
    something is meant that is there, "all" where nothing is, too; `replay` times as many of earlier steps are learned
    from again.
    With `moves` single moves are practised instead of whole episodes (`moves.py`), each worth one figure of its own;
    `sift` and `weights` do not matter then.
    With `sift` above 1 that many times the requests are tried twice first, and those go on that tell most.
    `rows` passages are read at once; it changes memory, not what is learned. `kl` weighs the divergence from the
    weights that the run started from; 0 keeps no copy of them. Episodes are sampled at `temperature`, and it is that
    distribution that learns. The rate is `lr` after `warm` steps and falls linearly to nothing from `hold` of the run
    on; what a run leaves is the mean of the weights after each step from `mean` of the run on, for single steps
    follow few groups and wander about where all of them lead. `otherwise` is the share of requests that are said in
    other words, those of the run in `words` if any; scenes are of `split`, a share `strange` of them on grounds that no
    photograph shows; with `practice` sentences
    about things, the phrasings of requests, or both are those that no supervised stage has read. The run
    ends after `steps`, or after `minutes` of its own time.
    """

    steps: int = 1000
    minutes: float = 60.0
    requests: int = 8
    each: int = 1
    group: int = 8
    sift: float = 1.0
    turns: int = 8
    temperature: float = 1.0
    updates: int = 2
    passes: int = 1
    keep: float = 1.0
    rows: int = 8
    lr: float = 1e-6
    warm: int = 5
    hold: float = 0.5
    mean: float = 0.5
    clip: Clip = field(default_factory=Clip)
    scale: Scale = "none"
    credit: Credit = "episode"
    least: float = 0.0
    blame: float = 1.0
    kl: float = 0.0
    max_norm: float = 1.0
    otherwise: float = 0.5
    words: Path | None = None
    split: Learned = "train"
    strange: float = 0.0
    practice: Practice = "none"
    guided: Guided = "none"
    moves: bool = False
    replay: float = 0.0
    part: Part = "language"
    rank: int = 16
    seed: int = 0
    save: float = 5.0
    watch: float = 15.0
    watched: int = 120
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)

    def leads(self, *, absent: bool) -> bool:
        """Whether the expert goes on where all failed that was sampled, by whether what is asked for is absent."""
        return self.guided == "all" or (self.guided == "present" and not absent)

    def rate(self, step: int, progress: float) -> float:
        """The learning rate of a step (from 0), `progress` 0..1 into the run."""
        fallen = 1.0 if progress < self.hold else (1 - min(1.0, progress)) / max(1e-9, 1 - self.hold)
        return self.lr * min(1.0, (step + 1) / max(1, self.warm)) * fallen

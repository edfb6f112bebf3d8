"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.bench.plan import Sam


@dataclass(frozen=True)
class Scale:
    """Counts of episodes are per round, except where said.

    A loop that plays one episode at a time has the same rate however many it plays: (a) gets `serial` of the
    episodes that the others play, so that it ends in time.
    """

    clients: int
    rounds: int
    episodes: int
    serial: int
    crowd: int
    """Of baseline (b)."""
    growth: int
    """For each length and round of the growth of cost."""
    growth_limit: int
    """The same of the engines alone, and of the serial loop."""
    growth_serial: int
    megapixel: int
    """In all, for the orchestrator's CPU."""
    probes: int
    idle: int
    large: Sam
    large_episodes: int
    large_serial: int
    large_rounds: int
    large_growth: int
    killed: int
    """Episodes while a replica is killed."""
    decodes: int
    """How often the prompts of as many episodes as there are clients are asked, for the speed-up of replicas."""


SHORT = Scale(
    clients=16,
    rounds=1,
    episodes=24,
    serial=3,
    crowd=16,
    growth=16,
    growth_limit=0,
    growth_serial=0,
    megapixel=12,
    probes=60,
    idle=64,
    large=Sam("vit_b", 512),
    large_episodes=4,
    large_serial=1,
    large_rounds=1,
    large_growth=1,
    killed=24,
    decodes=2,
)
"""Some ten minutes on two quiet cores. The ViT-B looks at 512 px: at its own 1024 each encode takes many seconds."""

FULL = Scale(
    clients=16,
    rounds=4,
    episodes=48,
    serial=6,
    crowd=32,
    growth=16,
    growth_limit=16,
    growth_serial=2,
    megapixel=40,
    probes=300,
    idle=64,
    large=Sam("vit_b", 1024),
    large_episodes=8,
    large_serial=1,
    large_rounds=2,
    large_growth=2,
    killed=48,
    decodes=4,
)
"""Some thirty minutes on two quiet cores, and what ViT-B encodes of half a minute take."""

"""What would have been right: an expert goes on from where an episode went wrong.

Sampling finds only what the policy does now and then. After supervised learning it never takes back a first look that
it means: of 64 held-out requests whose first mask showed another thing, 64 ended with that mask, so that no reward
could tell it to look again. A group that fails is therefore given one member more: what a failed episode said before
its last move, and from there on the expert's moves in the same episode, with the real segmenter, judged like all others
(off-policy guidance, LUFFY, arXiv 2504.14945; the takeover is DAgger's, arXiv 1011.0686). Only the expert's words are
learned, as if they had been sampled: their ratio is 1 where an update begins. LUFFY damps unlikely tokens less by
reshaping the ratio; here nothing does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rsagent.agent.actions import Zoom
from rsagent.agent.episode import conclude
from rsagent.agent.runner import Runner
from rsagent.agent.state import EpisodeResult, EpisodeState
from rsagent.evaluation.figures import SOLVED
from rsagent.training.rl.rollout import Rollout
from rsagent.training.rl.trace import Trace, trace
from rsagent.training.synthesis.acting import made
from rsagent.training.synthesis.expert import Expert


def failed(found: Trace) -> bool:
    """Whether an episode ended with something else than what was meant."""
    return not found.refused if found.absent else found.final < SOLVED


def rewound(state: EpisodeState, turns: int) -> EpisodeState:
    """An episode as it was after so many of its turns."""
    kept = state.turns[:turns]
    opened = sum(isinstance(turn.action, Zoom) and turn.frame is not None for turn in kept)
    return replace(
        state,
        frames=state.frames[: 1 + opened],
        history=state.history[: 2 + 2 * turns],
        masks=tuple(record for record in state.masks if record.turn <= turns),
        turns=kept,
        stop=None,
    )


async def guided(runner: Runner, group: Sequence[Rollout]) -> Rollout | None:
    """One failed episode of a group, the shortest, as the expert ends it; None where none failed, none leaves the
    expert turns enough, or it does no better."""
    for rollout in sorted((one for one in group if failed(one.trace)), key=lambda one: one.trace.turns):
        expert = Expert(rollout.item.scene, rollout.item.request, place=runner.dialect.place)
        state = rollout.result.state
        needed = len(expert.order) + 2
        kept = min(len(state.turns) - 1, state.task.budget.turns - needed)
        if kept >= 0:
            result = await _ended(rewound(state, kept), expert, runner)
            found = trace(result, rollout.item.truth)
            return None if failed(found) else Rollout(rollout.item, result, found, led=kept)
    return None


async def _ended(state: EpisodeState, expert: Expert, runner: Runner) -> EpisodeResult:
    while state.stop is None:
        state = await made(state, expert.decide(state), runner.dialect, runner.segmenter)
    return conclude(state)

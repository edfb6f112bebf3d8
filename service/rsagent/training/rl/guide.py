"""What would have been right: an expert goes on from where an episode went wrong.

Sampling finds only what the policy does now and then, and of what it never does no reward can tell it. A group in which
an episode failed is therefore given one member more: what that episode said while all went well, and from the first
move on that did not the expert's moves in the same episode, with the real segmenter, judged like all others (guidance
off the policy, LUFFY, arXiv 2504.14945; the takeover is DAgger's, arXiv 1011.0686). Only the expert's words are
learned, as if they had been sampled: their ratio is 1 where an update begins. LUFFY damps unlikely tokens less by
reshaping the ratio; here nothing does.

"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rsagent.agent.actions import Segment, Zoom
from rsagent.agent.episode import conclude
from rsagent.agent.runner import Runner
from rsagent.agent.state import EpisodeResult, EpisodeState
from rsagent.evaluation.figures import SOLVED
from rsagent.training.rl.pool import Item
from rsagent.training.rl.rollout import Rollout
from rsagent.training.rl.trace import Trace, trace
from rsagent.training.synthesis.acting import made
from rsagent.training.synthesis.expert import Expert, shows


def failed(found: Trace) -> bool:
    """Whether an episode ended with something else than what is meant, or with anything where nothing is."""
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


def well(state: EpisodeState, expert: Expert) -> int:
    """How many of a failed episode's turns went well: each showed one more of what is meant, or zoomed so that it can
    be seen. The last did not."""
    for before in range(len(state.turns) - 1):
        after = rewound(state, before + 1)
        action, done = after.turns[-1].action, expert.matched(after)
        if isinstance(action, Segment) and len(done) > len(expert.matched(rewound(state, before))):
            continue
        rest = (placed for index, placed in enumerate(expert.order) if index not in done)
        if isinstance(action, Zoom) and any(shows(after.last_frame.box, placed.box) for placed in rest):
            continue
        return before
    return len(state.turns) - 1


async def guided(runner: Runner, group: Sequence[Rollout], refusing: bool = True) -> Rollout | None:
    """One failed episode of a group, the one that went well for longest, as the expert ends it; None where none failed,
    the expert has not turns enough, or does no better, and, unless `refusing`, where it would say that nothing is
    meant."""
    wrong = (rollout for rollout in group if failed(rollout.trace) and (refusing or not rollout.trace.absent))
    found = [(rollout, expert_of(rollout.item, runner)) for rollout in wrong]
    for rollout, expert in sorted(found, key=lambda pair: -well(pair[0].result.state, pair[1])):
        state, needed = rollout.result.state, len(expert.order) + 2
        kept = min(well(state, expert), state.task.budget.turns - needed)
        if kept >= 0:
            result = await _ended(rewound(state, kept), expert, runner)
            ended = trace(result, rollout.item.truth)
            return None if failed(ended) else Rollout(rollout.item, result, ended, led=kept)
    return None


def expert_of(item: Item, runner: Runner) -> Expert:
    """Who knows the answer, and speaks the runner's dialect."""
    return Expert(item.scene, item.request, place=runner.dialect.place)


async def _ended(state: EpisodeState, expert: Expert, runner: Runner) -> EpisodeResult:
    while state.stop is None:
        state = await made(state, expert.decide(state), runner.dialect, runner.segmenter)
    return conclude(state)

"""When an episode is over: one named predicate for each reason that the episode itself can see.

`context_budget`, `deadline`, `cancelled` and `engine_error` come from outside: the runner sets them.
"""

from __future__ import annotations

from collections.abc import Callable

from rsagent.agent.actions import Finish, Malformed, NoTarget
from rsagent.agent.state import EpisodeState, StopReason


def has_finished(state: EpisodeState) -> bool:
    return bool(state.turns) and isinstance(state.turns[-1].action, Finish)


def found_no_target(state: EpisodeState) -> bool:
    return bool(state.turns) and isinstance(state.turns[-1].action, NoTarget)


def spent_malformed_budget(state: EpisodeState) -> bool:
    malformed = sum(isinstance(turn.action, Malformed) for turn in state.turns)
    return malformed >= state.task.budget.malformed


def keeps_repeating(state: EpisodeState) -> bool:
    repeats = state.task.budget.repeats
    return len(state.turns) >= repeats and all(turn.repeated for turn in state.turns[-repeats:])


def spent_turn_budget(state: EpisodeState) -> bool:
    return len(state.turns) >= state.task.budget.turns


STOPS: tuple[tuple[StopReason, Callable[[EpisodeState], bool]], ...] = (
    (StopReason.FINISHED, has_finished),
    (StopReason.NO_TARGET, found_no_target),
    (StopReason.MALFORMED_BUDGET, spent_malformed_budget),
    (StopReason.REPEAT, keeps_repeating),
    (StopReason.TURN_BUDGET, spent_turn_budget),
)
"""In order: what the policy said itself comes before the budgets."""


def stop_of(state: EpisodeState) -> StopReason | None:
    """The first reason that holds, or None while the episode goes on."""
    return next((reason for reason, holds in STOPS if holds(state)), None)

"""What the agent does: turns, stops, malformed turns, time to the first mask."""

from __future__ import annotations

from deploy.grafana.panels import Board, Query, lines, mean, number, quantiles, stack

_EPISODES = "sum(rate(rsagent_stop_total[$__rate_interval]))"
_TURNS = "sum(rate(rsagent_turns_sum[$__rate_interval]))"

BOARD = Board(
    "rsagent-agent",
    "RSAgent / 2 Agent",
    "Episodes: how many turns, why they stop, what the policy calls, and how often it says nothing that can be read.",
    (
        (
            "Last five minutes",
            (
                number(
                    "Came to an end of their own",
                    "Share of episodes that the policy ended itself: finished, or no target.",
                    "percentunit",
                    "rsagent:episodes_complete:ratio5m",
                ),
                number("Turns of an episode", "Mean.", "short", "rsagent:turns:mean5m"),
                number(
                    "Malformed",
                    "Share of turns that were no action. They are answered with an error and cost a turn.",
                    "percentunit",
                    "rsagent:turns_malformed:ratio5m",
                ),
                number(
                    "First mask, p95",
                    "From arrival to the first mask.",
                    "s",
                    "rsagent:first_mask_seconds:p95_5m",
                ),
            ),
        ),
        (
            "Episodes",
            (
                stack(
                    "Stops",
                    "finished and no_target are the policy's own; all others are limits or faults.",
                    "ops",
                    Query("sum by (reason) (rate(rsagent_stop_total[$__rate_interval]))", "{{reason}}"),
                ),
                lines(
                    "Turns",
                    "Of an episode. Each costs a prefill of what is new, a decode, and often a mask.",
                    "short",
                    *quantiles("rsagent_turns", 0.5, 0.95),
                    mean("rsagent_turns"),
                ),
                lines(
                    "Time of a turn, p95",
                    "By stage: the policy's sampling, the segmenter's answer, the overlay.",
                    "s",
                    *quantiles("rsagent_turn_seconds", 0.95, by="stage"),
                ),
                lines(
                    "First mask",
                    "From arrival to the first mask.",
                    "s",
                    *quantiles("rsagent_time_to_first_mask_seconds", 0.5, 0.95),
                ),
            ),
        ),
        (
            "Actions",
            (
                stack(
                    "Tools called",
                    "What the policy does in its turns.",
                    "ops",
                    Query("sum by (tool) (rate(rsagent_tool_calls_total[$__rate_interval]))", "{{tool}}"),
                ),
                lines(
                    "Results",
                    "repeated: the same call again, which ends an episode when it goes on. malformed: no call at all.",
                    "ops",
                    Query("sum by (result) (rate(rsagent_tool_calls_total[$__rate_interval]))", "{{result}}"),
                ),
                lines(
                    "Malformed turns by kind",
                    "Share of turns. A new kind after a change of checkpoint is a dialect that does not fit it.",
                    "percentunit",
                    Query(
                        "sum by (kind) (rate(rsagent_malformed_total[$__rate_interval]))"
                        f" / on () group_left () {_TURNS}",
                        "{{kind}}",
                    ),
                ),
                lines(
                    "Tokens of an episode",
                    "prompt counts what was sent anew each turn, cached is the part that the engine had read before.",
                    "short",
                    Query(
                        "sum by (kind) (rate(rsagent_policy_tokens_total[$__rate_interval]))"
                        f" / on () group_left () {_EPISODES}",
                        "{{kind}}",
                    ),
                ),
            ),
        ),
    ),
)

"""What was measured as rows with their bars, and as JSON."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtests.bench import costs as model
from loadtests.bench.account import Account
from loadtests.bench.contenders import Played
from loadtests.bench.measure import CROWD, LARGE, LIMIT, SERIAL, SERVICE, Growth, Orchestrator, Throughput
from loadtests.bench.plan import NANO, Sam
from loadtests.bench.replicas import Replicated
from loadtests.capacity import Measurement
from loadtests.verdict import Verdict, percentile


@dataclass(frozen=True)
class Results:
    """Everything of one run; a part that was left out is None."""

    profile: str
    settings: dict[str, Any]
    throughput: Throughput | None = None
    growth: list[Growth] = field(default_factory=list)
    large: Throughput | None = None
    sam: Sam = NANO
    orchestrator: Orchestrator | None = None
    replicas: Replicated | None = None
    capacity: Measurement | None = None


def verdicts(results: Results) -> list[Verdict]:
    """The issue's table, ratios first."""
    rows: list[Verdict] = []
    nano, big = results.throughput, results.large
    if nano is not None:
        rows.append(_at_least("throughput over baseline (a), 4 turns, 16 clients", nano.ratios(SERIAL), 2.5, 5.0))
    if big is not None:
        what = f"the same, {results.sam.variant} segmenter at {results.sam.side} px, random weights"
        rows.append(_at_least(what, big.ratios(SERIAL), 3.5, 4.0))
    if nano is not None:
        rows.append(_at_least("throughput over baseline (b)", nano.ratios(CROWD), 1.5, 2.5))
        rows.append(_at_least("share of replay (c)", nano.ratios(LIMIT), 0.85, 0.97))
    rows += _growths(results)
    if nano is not None:
        rows += _counts(Account.total(played.account for played in nano.rounds[SERVICE]))
    if nano is not None and results.profile == "engines":
        rows += _remote(nano.rounds[SERVICE])
    if results.orchestrator is not None:
        rows += _orchestrator(results.orchestrator)
    if results.replicas is not None:
        rows += _replicas(results.replicas)
    if results.capacity is not None:
        rows.append(_capacity(results.capacity))
    return rows


def _at_least(what: str, ratios: Sequence[float], bar: float, aim: float) -> Verdict:
    middle = statistics.median(ratios)
    return Verdict(what, _spread(ratios, "×"), f"≥ {bar:g}× (aim {aim:g}×)", middle >= bar, {"rounds": list(ratios)})


def _spread(values: Sequence[float], unit: str) -> str:
    """The median, and between which values it lies."""
    return f"{statistics.median(values):.2f}{unit} ({min(values):.2f} to {max(values):.2f})"


def _growths(results: Results) -> list[Verdict]:
    """The service's growth with each segmenter; that of the engines alone beside it, for nothing can be below it."""
    names = {SERVICE: "nano pair", LARGE: f"{results.sam.variant} segmenter"}
    limits = [f"{statistics.median(each.ratios()):.2f}×" for each in results.growth if each.who == LIMIT]
    beside = f"; the engines alone {limits[0]}" if limits else ""
    rows = []
    for each in results.growth:
        if each.who in names:
            ratios = each.ratios()
            value = _spread(ratios, "×") + (beside if each.who == SERVICE else "")
            what, holds = f"CPU-seconds, 8 turns over 2, {names[each.who]}", statistics.median(ratios) <= 3.0
            rows.append(Verdict(what, value, "≤ 3.0× (aim 2.2×)", holds, {"rounds": ratios}))
    return rows


def _replicas(found: Replicated) -> list[Verdict]:
    killed = found.killed
    told = f"{len(killed.failed)} of {killed.requests} failed, {killed.retries} calls made again"
    value = f"{told}; slowest {killed.worst:.1f} s, usually {killed.usual:.1f} s"
    return [
        Verdict("a replica killed under load", value, "no failed request", not killed.failed, asdict(killed)),
        Verdict("1 → 2 replicas, decode-bound load", _spread(found.speedups(), "×"), "reported", True,
                {"prompts_per_second": {str(count): list(each) for count, each in found.rates.items()}}),
    ]  # fmt: skip


def _capacity(found: Measurement) -> Verdict:
    reached = found.reached() or 0.0
    return Verdict("measured over the capacity model", f"{reached:.0%}", "reported", True, model.document(found))


def markdown(rows: Sequence[Verdict]) -> str:
    """The verdicts as a table for documents."""
    lines = ["| what | measured | bar | |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.value} | {row.bar} | {'holds' if row.holds else '**missed**'} |" for row in rows]
    return "\n".join(lines) + "\n"


def _counts(account: Account) -> list[Verdict]:
    encodes, sent = account.encodes / account.episodes, account.images_sent / account.images
    hits, prefilled = account.embedding_hits, account.prefilled
    return [
        Verdict("image encodes an episode", f"{encodes:.3f}", "1", round(encodes, 3) <= 1),
        Verdict("policy engine was handed each view", f"{sent:.3f}×", "1×", round(sent, 3) <= 1),
        Verdict("prefilled over prompt tokens, an episode", f"{prefilled:.3f}", "≤ 1.05", prefilled <= 1.05),
        Verdict("embedding hits on turns ≥ 2", f"{hits:.1%}", "≥ 99%", hits >= 0.99),
    ]  # fmt: skip


def _remote(rounds: Sequence[Played]) -> list[Verdict]:
    """What shows only where both engines are other processes: all that the service's own takes, with its clients of
    them and Ray's runtime; and pictures that go to replicas."""
    turns = [1000 * each.by_role.get("service", 0.0) / each.account.turns for each in rounds]
    sent = [each.account.pictures_sent / each.account.episodes for each in rounds]
    return [
        Verdict("the service's process a turn, clients of vLLM and Ray in it", _spread(turns, " ms"), "reported", True),
        Verdict("picture sent to replicas, an episode", f"{max(sent):.3f}×", "≤ 1×", round(max(sent), 3) <= 1),
    ]


def _orchestrator(found: Orchestrator) -> list[Verdict]:
    turn = statistics.median(found.turn_ms)
    first = 1000 * percentile(list(found.first_bytes), 99)
    return [
        Verdict("orchestrator CPU a turn, 1 MP", _spread(found.turn_ms, " ms"), "≤ 15 ms (aim 4 ms)", turn <= 15,
                {"rounds_ms": list(found.turn_ms)}),
        Verdict(f"first SSE byte beside {found.inflight} idle streams, p99", f"{first:.1f} ms", "≤ 50 ms", first <= 50,
                {"p50_ms": 1000 * percentile(list(found.first_bytes), 50), "requests": len(found.first_bytes)}),
    ]  # fmt: skip


def document(results: Results) -> dict[str, Any]:
    """All of it, for JSON: verdicts, and every round of everyone."""
    return {
        "machine": machine(),
        "profile": results.profile,
        "settings": results.settings,
        "verdicts": [each.document() for each in verdicts(results)],
        "throughput": _throughput(results.throughput),
        "growth_cpu_seconds": {
            each.who: {str(turns): list(seconds) for turns, seconds in each.seconds.items()} for each in results.growth
        },
        "large_segmenter": {**asdict(results.sam), "throughput": _throughput(results.large)},
    }


def _throughput(found: Throughput | None) -> dict[str, Any]:
    return {} if found is None else {name: [_played(each) for each in rounds] for name, rounds in found.rounds.items()}


def _played(played: Played) -> dict[str, Any]:
    """One round of one contender. Latencies in seconds, of the service alone."""
    asked = {
        "first_byte": [each.first_byte for each in played.asked],
        "first_mask": [each.masks[0] for each in played.asked if each.masks],
        "turn_gap": [gap for each in played.asked for gap in each.gaps],
        "final": [each.final for each in played.asked],
    }
    latencies = {
        name: {f"p{share}": percentile(values, share) for share in (50, 95, 99)}
        for name, values in asked.items()
        if values
    }
    account = asdict(played.account)
    return {
        "episodes_per_second": played.rate,
        "seconds": played.seconds,
        "cpu_seconds": played.cpu,
        "cpu_seconds_by_role": dict(played.by_role),
        "account": account,
        "prefilled_over_conversation": played.account.prefilled,
        "latency_seconds": latencies,
    }


def machine() -> dict[str, Any]:
    """What it ran on, and how busy that was with other things."""
    cpu = next((row for row in _lines("/proc/cpuinfo") if row.startswith("model name")), "").partition(": ")[2]
    return {"cpu": cpu or platform.machine(), "cores": os.cpu_count(), "load_average_before": os.getloadavg()}


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []

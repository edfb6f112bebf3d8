"""The measurements: who plays what, in which order.

Contenders take turns in a palindrome (service, limit, b, a; a, b, limit, service; …), so that a machine that gets
slower or faster under way does so for all; a ratio is taken within a round, and all rounds' ratios are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from loadtests.bench import script
from loadtests.bench.contenders import Contender, Hall, Played, Work
from loadtests.bench.recording import Library, Stage, record
from loadtests.bench.scale import Scale

Tell = Callable[[str], None]

SERVICE, SERIAL, CROWD, LIMIT = "service", "baseline (a)", "baseline (b)", "limit (c)"
LARGE = "service, large segmenter"


class Numbers:
    """Hands out episodes that nobody has played: a second time, a cache would know their pictures.

    They are recorded when asked for, before the clock starts.
    """

    def __init__(self, library: Library, stage: Stage, start: int = 0) -> None:
        self._library, self._stage, self._next = library, stage, start

    def take(self, count: int, turns: int, *, megapixel: bool = False) -> tuple[int, ...]:
        """`count` new episodes of so many turns."""
        [numbers] = self.twins([count], turns, megapixel=megapixel)
        return numbers

    def twins(self, counts: Sequence[int], turns: int, *, megapixel: bool = False) -> list[tuple[int, ...]]:
        """The same new episodes for several who share engines, the first so many of them for each: twins (see
        `script.TWINS`), for what one has played is in the caches when the next one comes."""
        first, self._next = self._next, self._next + max(counts)
        shares = [
            tuple(range(twin * script.TWINS + first, twin * script.TWINS + first + count))
            for twin, count in enumerate(counts)
        ]
        for number in (number for share in shares for number in share):
            self._library.add(record(self._stage, number, turns, megapixel=megapixel))
        return shares


@dataclass(frozen=True)
class Throughput:
    """By contender, what it took in each round, in order."""

    rounds: Mapping[str, Sequence[Played]]

    def ratios(self, over: str) -> list[float]:
        """The service's rate over another's, by round."""
        pairs = zip(self.rounds[SERVICE], self.rounds[over], strict=True)
        return [service.rate / other.rate for service, other in pairs]


async def throughput(
    contenders: Mapping[str, Contender],
    work: Callable[[], Mapping[str, Work]],
    rounds: int,
    warm: Mapping[str, Work],
    tell: Tell,
) -> Throughput:
    """`work` says what each contender plays in a round, `warm` what before the first, with as many clients: whoever has
    the first batches of a size pays for what the engines make for that size."""
    played: dict[str, list[Played]] = {name: [] for name in contenders}
    for name, contender in contenders.items():
        tell(f"warming {name}")
        await contender.play(warm[name])
    for number, order in enumerate(palindrome(list(contenders), rounds), 1):
        tasks = work()
        for name in order:
            tell(f"round {number} of {rounds}: {name}")
            played[name].append(await contenders[name].play(tasks[name]))
    return Throughput(played)


def palindrome(names: list[str], rounds: int) -> Iterator[list[str]]:
    """The order of each round: forth, back, forth, …"""
    for number in range(rounds):
        yield names if number % 2 == 0 else names[::-1]


async def compared(hall: Hall, numbers: Numbers, scale: Scale, tell: Tell) -> tuple[Throughput, list[Growth]]:
    """The service, both baselines and the limit over four-turn episodes; then what eight turns cost over two."""

    def work() -> dict[str, Work]:
        counts = {SERVICE: scale.episodes, LIMIT: scale.episodes, CROWD: scale.crowd, SERIAL: scale.serial}
        shares = zip(counts, numbers.twins(list(counts.values()), 4), strict=True)
        return {name: Work(share, 1 if name == SERIAL else scale.clients) for name, share in shares}

    async with AsyncExitStack() as stack:
        loop = await stack.enter_async_context(hall.worker("loop"))
        contenders: dict[str, Contender] = {
            SERVICE: await stack.enter_async_context(hall.service()),
            LIMIT: await stack.enter_async_context(hall.worker("replay")),
            CROWD: loop,
            SERIAL: loop,
        }
        crowded = {name: Work(numbers.take(scale.clients, 4), scale.clients) for name in (SERVICE, LIMIT)}
        warm = crowded | {CROWD: Work(numbers.take(2, 4), 2), SERIAL: Work(numbers.take(1, 4), 1)}
        found = await throughput(contenders, work, scale.rounds, warm, tell)
        grown = [await growth(contenders[SERVICE], SERVICE, numbers, scale.growth, scale.clients, tell)]
        if scale.growth_limit:
            grown.append(await growth(contenders[LIMIT], LIMIT, numbers, scale.growth_limit, scale.clients, tell))
        if scale.growth_serial:
            grown.append(await growth(loop, SERIAL, numbers, scale.growth_serial, 1, tell))
        return found, grown


async def large(hall: Hall, numbers: Numbers, scale: Scale, tell: Tell) -> tuple[Throughput, Growth]:
    """The service, the limit and the serial loop with the large segmenter; then what eight turns cost over two."""

    def work() -> dict[str, Work]:
        episodes = numbers.take(scale.large_episodes, 4)
        return {
            SERVICE: Work(episodes, scale.clients),
            LIMIT: Work(episodes, scale.clients),
            SERIAL: Work(episodes[: scale.large_serial], 1),
        }

    async with AsyncExitStack() as stack:
        contenders: dict[str, Contender] = {
            SERVICE: await stack.enter_async_context(hall.service()),
            LIMIT: await stack.enter_async_context(hall.worker("replay")),
            SERIAL: await stack.enter_async_context(hall.worker("loop")),
        }
        warm = dict.fromkeys(contenders, Work(numbers.take(1, 2), 1))
        found = await throughput(contenders, work, scale.large_rounds, warm, tell)
        growing = await growth(contenders[SERVICE], LARGE, numbers, scale.large_growth, scale.clients, tell, (2, 8))
        return found, growing


@dataclass(frozen=True)
class Growth:
    """CPU-seconds of an episode by its turns; one figure a round."""

    who: str
    seconds: Mapping[int, Sequence[float]]

    def ratios(self) -> list[float]:
        """Eight turns over two, by round."""
        return [long / short for short, long in zip(self.seconds[2], self.seconds[8], strict=True)]


async def growth(
    who: Contender,
    name: str,
    numbers: Numbers,
    count: int,
    clients: int,
    tell: Tell,
    lengths: tuple[int, ...] = (2, 4, 8),
) -> Growth:
    """`count` episodes of each of the `lengths` in turns, and back."""
    seconds: dict[int, list[float]] = {turns: [] for turns in lengths}
    for turns in (*lengths, *lengths[::-1]):
        tell(f"{name}: {turns} turns")
        played = await who.play(Work(numbers.take(count, turns), clients))
        seconds[turns].append(played.cpu / count)
    return Growth(name, seconds)


@dataclass(frozen=True)
class Orchestrator:
    """CPU milliseconds of the service's process a turn, with engines that take none; seconds to the first byte while
    other streams are idle."""

    turn_ms: Sequence[float]
    first_bytes: Sequence[float]
    inflight: int = field(default=0)


async def orchestrator(hall: Hall, numbers: Numbers, scale: Scale, tell: Tell) -> Orchestrator:
    """Over pictures of a megapixel; then over ones of 640 × 480 with idle streams beside them."""
    async with hall.service(instant=True) as service:
        await service.play(Work(numbers.take(4, 4, megapixel=True), 4))
        turn_ms = []
        for _ in range(2):
            tell("the orchestrator alone")
            played = await service.play(Work(numbers.take(scale.megapixel // 2, 4, megapixel=True), 4))
            turn_ms.append(1000 * played.cpu / played.account.turns)
        tell(f"first bytes beside {scale.idle} idle streams")
        [waiting] = numbers.take(1, 4)
        asked = await service.idle(waiting, scale.idle, numbers.take(8, 2) * -(-scale.probes // 8))
        return Orchestrator(turn_ms, [each.first_byte for each in asked[: scale.probes]], scale.idle)

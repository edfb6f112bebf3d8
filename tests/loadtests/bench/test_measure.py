"""The order of rounds, fresh episodes, CPU-seconds of process trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from loadtests.bench import measure
from loadtests.bench.contenders import Played, Work
from loadtests.bench.cpu import OTHERS, RAY, TICKS, Meter
from loadtests.bench.measure import LIMIT, SERIAL, SERVICE, Numbers, Throughput, growth, palindrome, throughput
from loadtests.bench.recording import Library
from tests.loadtests.bench.staging import played, stage

from rsagent.policy.chat import images_of


class Player:
    """A contender that writes down what it plays."""

    def __init__(self, name: str, log: list[tuple[str, Work]]) -> None:
        self._name, self._log = name, log

    async def play(self, work: Work) -> Played:
        self._log.append((self._name, work))
        return played(1.0 + len(self._log))


async def test_rounds_go_forth_and_back() -> None:
    log: list[tuple[str, Work]] = []
    players = {name: Player(name, log) for name in (SERVICE, LIMIT, SERIAL)}
    asked = iter(range(1, 10))

    def work() -> dict[str, Work]:
        number = next(asked)
        return {name: Work((number,), 1) for name in players}

    warm = dict.fromkeys(players, Work((0,), 1))
    found = await throughput(players, work, 2, warm, lambda _: None)
    names = [SERVICE, LIMIT, SERIAL]
    assert [name for name, _ in log] == [*names, *names, *names[::-1]]
    assert [one.numbers for _, one in log] == [(0,)] * 3 + [(1,)] * 3 + [(2,)] * 3
    assert {name: len(rounds) for name, rounds in found.rounds.items()} == dict.fromkeys(names, 2)
    assert list(palindrome(["a", "b"], 3)) == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_ratios_are_taken_within_a_round() -> None:
    found = Throughput({SERVICE: [played(4.0), played(2.0)], SERIAL: [played(1.0), played(1.0)]})
    assert found.ratios(SERIAL) == pytest.approx([4.0, 2.0])


def test_nobody_plays_an_episode_twice(tmp_path: Path) -> None:
    numbers = Numbers(Library(tmp_path), stage(), start=100)
    first, second = numbers.take(2, 2), numbers.take(1, 4)
    assert (first, second) == ((100, 101), (102,))
    assert [len(one.turns) for one in Library(tmp_path).several((*first, *second))] == [2, 2, 4]


def test_who_shares_engines_plays_twins(tmp_path: Path) -> None:
    library = Library(tmp_path)
    numbers = Numbers(library, stage())
    one, other = (library.several(share) for share in numbers.twins([2, 1], 2))
    assert (len(one), len(other)) == (2, 1)
    views = [{image.uuid for turn in each.turns for image in images_of(turn.history)} for each in (one[0], other[0])]
    assert not views[0] & views[1]
    assert one[0].image_id != other[0].image_id
    assert len({each.file for each in (*one, *other)}) == 3
    assert one[0].query == other[0].query
    assert [turn.ids for turn in one[0].turns] == [turn.ids for turn in other[0].turns]
    assert numbers.take(1, 2) == (2,)


async def test_growth_plays_each_length_forth_and_back(tmp_path: Path) -> None:
    log: list[tuple[str, Work]] = []
    numbers = Numbers(Library(tmp_path), stage())
    found = await growth(Player(SERVICE, log), SERVICE, numbers, 1, 16, lambda _: None)
    lengths = [len(Library(tmp_path).get(work.numbers[0]).turns) for _, work in log]
    assert lengths == [2, 4, 8, 8, 4, 2]
    assert {turns: len(each) for turns, each in found.seconds.items()} == {2: 2, 4: 2, 8: 2}
    assert found.ratios() == [1.0, 1.0]
    assert found.who == measure.SERVICE
    short = await growth(Player(SERVICE, log), SERVICE, numbers, 1, 16, lambda _: None, (2, 8))
    assert list(short.seconds) == [2, 8]


def test_cpu_is_counted_of_marked_processes_and_their_children(tmp_path: Path) -> None:
    process(tmp_path, 10, 1, ticks=5, environ=b"A=1\0MARK=here\0")
    process(tmp_path, 11, 10, ticks=7, environ=b"written over")
    process(tmp_path, 12, 1, ticks=100, environ=b"MARK=another\0")
    meter = Meter("here", tmp_path)
    before = meter.read()
    assert before == {10: 10 / TICKS, 11: 14 / TICKS}
    process(tmp_path, 11, 10, ticks=9, environ=b"")
    process(tmp_path, 13, 11, ticks=1, environ=b"", words="ray::ServeReplica:a")
    process(tmp_path, 14, 11, ticks=3, environ=b"", words="VLLM::EngineCore")
    process(tmp_path, 15, 11, ticks=4, environ=b"", words="python -m rsagent.segmenter.serve.head")
    found = meter.by_role(before)
    assert sorted(found) == sorted({OTHERS, RAY, "vLLM's engine", "segmenter replicas"})
    assert found[OTHERS] == pytest.approx(4 / TICKS)
    assert found["segmenter replicas"] == pytest.approx(2 / TICKS)
    assert (found["vLLM's engine"], found[RAY]) == pytest.approx((6 / TICKS, 8 / TICKS))


@pytest.mark.parametrize(
    ("words", "role"),
    [
        ("/x/.venv-vllm/bin/python -m vllm.entrypoints.openai.api_server --model a", "vLLM's server"),
        ("ray::ServeReplica:rsagent-segmenter:Segmenter", "segmenter replicas"),
        ("ray::ServeController.listen_for_change", RAY),
        ("/x/site-packages/ray/core/src/ray/raylet/raylet --a", RAY),
        ("python -m loadtests.bench.stand a.plan", "service"),
        ("python -m loadtests.bench.worker loop array.plan", "contender"),
        ("python /home/ray/tool.py", OTHERS),
    ],
)
def test_a_process_is_known_by_its_command_line(tmp_path: Path, words: str, role: str) -> None:
    meter = Meter("here", tmp_path)
    process(tmp_path, 10, 1, ticks=5, environ=b"MARK=here", words=words)
    assert list(meter.by_role({})) == [role]


def process(proc: Path, pid: int, parent: int, *, ticks: int, environ: bytes, words: str = "") -> None:
    """/proc/PID as the kernel writes it, with a name that is hard to read; `ticks` of user and of system time."""
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    fields = ["S", str(parent), *["0"] * 9, str(ticks), str(ticks), "0"]
    (folder / "stat").write_text(f"{pid} (ray: a) b) {' '.join(fields)}\n")
    (folder / "environ").write_bytes(environ)
    (folder / "cmdline").write_text(words.replace(" ", "\0"))

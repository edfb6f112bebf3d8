"""The rows of the table: which commands make each, and which row it is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Words = tuple[str, ...]
SFT, RL = "SFT", "SFT + RL"
CORRECTIONS = (
    "corrected", "corrected aim", "absent, after a false alarm", "click undone", "loose box", "refined by clicks",
)  # fmt: skip
"""The shapes of trajectories in which the expert mends something."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A row. `trains` are the words of a command that makes `checkpoint`, none where it is there already; `over` names
    the row that its gain is over."""

    name: str
    folder: Path
    checkpoint: str
    trains: Words = ()
    over: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the rows share. `sft` is a checkpoint after supervised fine-tuning; without it one is made of `base` and
    the folder `trajectories`, and another without self-correction. `tuning` and `reinforcing` are further words for
    `rsagent.training.sft` and `rsagent.training.rl run`, the same for every row."""

    folder: Path
    sft: str | None = None
    base: str | None = None
    trajectories: Path | None = None
    tuning: Words = ()
    reinforcing: Words = ()
    rewards: tuple[str, ...] = ()


def arms(setting: Setting) -> list[Arm]:
    """The rows, in an order in which each finds what it needs.

    Raises ValueError where there is neither an SFT checkpoint nor what one is made of.
    """
    found = list(_tuned(setting))
    start = found[-1].checkpoint
    found.append(_reinforced(setting, RL, start, over=SFT))
    found += [_reinforced(setting, f"{RL}, without {name}", start, ("--without", name)) for name in setting.rewards]
    return found


def _tuned(setting: Setting) -> Iterator[Arm]:
    if setting.base is not None:
        yield Arm("prompt-only", setting.folder / "prompt-only", setting.base)
    if setting.sft is not None:
        yield Arm(SFT, setting.folder / "sft", setting.sft)
    elif setting.base is None or setting.trajectories is None:
        raise ValueError("give --sft a checkpoint, or --base and --trajectories to make one of")
    else:
        left_out = [word for shape in CORRECTIONS for word in ("--without", shape)]
        yield _taught(setting, f"{SFT}, no self-correction", "sft-plain", left_out, over="prompt-only")
        yield _taught(setting, SFT, "sft", over=f"{SFT}, no self-correction")


def _taught(setting: Setting, name: str, place: str, more: Sequence[str] = (), *, over: str) -> Arm:
    folder = setting.folder / place
    train = ("rsagent.training.sft", str(setting.trajectories), str(folder / "run"), "--checkpoint", str(setting.base))
    return Arm(name, folder, str(folder / "run" / "export"), (*train, *setting.tuning, *more), over)


def _reinforced(setting: Setting, name: str, start: str, more: Sequence[str] = (), *, over: str = RL) -> Arm:
    folder = setting.folder / "-".join(("rl", *more[1:]))
    train = ("rsagent.training.rl", "run", str(folder / "run"), "--checkpoint", start)
    return Arm(name, folder, str(folder / "run" / "export"), (*train, *setting.reinforcing, *more), over)

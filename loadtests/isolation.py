"""Many distinct requests at once against the same ones in turn, on the shipped pair: every mask bit for bit the same.

Caches and batches are on, as shipped: whatever one request left behind, or shared a batch with, must not show.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing

import cv2
import numpy as np
from numpy.typing import NDArray

from loadtests.verdict import Verdict
from rsagent import examples, imaging
from rsagent.agent.events import Ended
from rsagent.deadline import Deadline
from rsagent.service import Service, open_service
from rsagent.settings import ImageLimits, Settings

Ask = tuple[NDArray[np.uint8], str]


def measure(short: bool = False) -> list[Verdict]:
    """200 requests (16 if `short`)."""
    count = 16 if short else 200
    different = asyncio.run(compare(count))
    what = f"{count} distinct requests at once: answers that differ from the serial run, bit by bit"
    return [Verdict(what, str(len(different)), "0", not different, {"which": different})]


async def compare(count: int) -> list[int]:
    """The numbers of the requests whose answer depended on company."""
    settings = Settings(
        policy={"local": {"max_waiting": count}},
        segmenter={"queue": max(64, count)},
        limits={"deadline": 3000, "max_deadline": 3000},
    )
    asked = asks(count)
    async with open_service(settings) as service:
        together = await asyncio.gather(*(_answer(service, ask) for ask in asked))
    async with open_service(settings) as service:
        alone = [await _answer(service, ask) for ask in asked]
    return [number for number, (one, other) in enumerate(zip(alone, together, strict=True)) if one != other]


def asks(count: int) -> list[Ask]:
    """Distinct pictures, cut and turned from the shipped ones, each with a sentence of its own."""
    dice, shipped = np.random.default_rng(0), examples.load()
    pictures = [imaging.decode(example.path.read_bytes(), ImageLimits()) for example in shipped]
    found = []
    for number in range(count):
        which = number % len(shipped)
        sentences = shipped[which].sentences
        found.append((_variant(pictures[which], dice), sentences[(number // len(shipped)) % len(sentences)]))
    return found


def _variant(picture: NDArray[np.uint8], dice: np.random.Generator) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    top, left = dice.integers(0, height // 4), dice.integers(0, width // 4)
    cut = picture[top : top + 3 * height // 4, left : left + 3 * width // 4]
    cut = cut[:, ::-1] if dice.random() < 0.5 else cut
    return np.asarray(cv2.convertScaleAbs(cut, alpha=float(dice.uniform(0.8, 1.1))), dtype=np.uint8)


async def _answer(service: Service, ask: Ask) -> str:
    """A digest of everything that the answer says but its times: stop, turns' words, every mask."""
    async with aclosing(service.play(*ask, deadline=Deadline.after(3000))) as events:
        async for event in events:
            if isinstance(event, Ended):
                digest = hashlib.sha256(event.result.stop.encode())
                for turn in event.result.state.turns:
                    digest.update(turn.reply.text.encode("utf-8", "replace"))
                for record in event.result.state.masks:
                    digest.update(np.packbits(record.mask).tobytes())
                return digest.hexdigest()
    raise RuntimeError("the episode did not end")

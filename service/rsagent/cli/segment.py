"""`rsagent segment`: one picture, one sentence, the turns as they come."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from rsagent import imaging, settings
from rsagent.api.answers import SegmentAnswer
from rsagent.api.requests import Include, Options
from rsagent.cli.inprocess import serving
from rsagent.cli.picture import paint
from rsagent.cli.show import Drawing
from rsagent.client.stream import RequestFailed, stream_segment
from rsagent.errors import RSAgentError
from rsagent.masks.codecs import decode_mask


async def segment(
    picture: bytes, query: str, options: Options, *, server: str | None, pictures: bool, as_json: bool
) -> SegmentAnswer:
    """Stream a request to `server`, or to a service of our own, drawing its turns (on stderr where the answer
    itself goes to stdout)."""
    console = Console(stderr=as_json)
    drawing = Drawing(console, pictures)
    async with AsyncExitStack() as stack:
        url = server or await _own(stack, console)
        events = await stack.enter_async_context(aclosing(stream_segment(url, picture, query, options)))
        async for event in events:
            drawing.draw(event.data)
            if isinstance(event.data, SegmentAnswer):
                return event.data
    raise RequestFailed("the stream ended before its final event")


async def _own(stack: AsyncExitStack, console: Console) -> str:
    with console.status("loading the models"):
        return await stack.enter_async_context(serving(settings.load()))


def write_overlay(picture: bytes, answer: SegmentAnswer, out: Path) -> None:
    """Write the picture with every submitted object painted over it; the format follows the suffix of `out`.

    Its folder is made if it is not there. Raises RSAgentError where the file cannot be written.
    """
    image = imaging.decode(picture, settings.load().limits.image)
    masks = [decode_mask(found.mask) for found in answer.objects]
    painted = Image.fromarray(np.ascontiguousarray(paint(image, masks)))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        painted.save(out)
    except (OSError, ValueError) as error:
        raise RSAgentError(f"cannot write {out}: {error}; name a .png or .jpg file in a folder of yours") from error


def write_json(answer: SegmentAnswer) -> None:
    """The whole answer on stdout."""
    sys.stdout.write(answer.model_dump_json(indent=1) + "\n")


def options_of(turns: int | None, deadline: float | None, pictures: bool, seed: int | None) -> Options:
    """The request's options from the command line's."""
    include = (Include.TURNS, Include.THOUGHTS, *((Include.OVERLAYS,) if pictures else ()))
    deadline_ms = None if deadline is None else round(deadline * 1000)
    return Options.model_validate({"max_turns": turns, "deadline_ms": deadline_ms, "include": include, "seed": seed})

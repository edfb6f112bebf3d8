"""`rsagent segment`: one picture, one sentence, the turns as they come."""

from __future__ import annotations

import json
import math
import sys
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console

from rsagent import imaging, settings
from rsagent.api.requests import Include, Options, parse_options
from rsagent.cli.inprocess import serving
from rsagent.cli.show import Drawing
from rsagent.client import Answer, AsyncClient
from rsagent.errors import BadQuery, NotConfigured, RSAgentError


async def segment(
    picture: bytes,
    query: str,
    options: Options,
    *,
    server: str | None,
    pictures: bool,
    as_json: bool,
    api_key: str | None = None,
) -> Answer:
    """Stream a request to `server`, or to a service of our own, drawing its turns (on stderr where the answer
    itself goes to stdout)."""
    console = Console(stderr=as_json)
    drawing = Drawing(console, pictures)
    async with AsyncExitStack() as stack:
        url = server or await own_service(stack, console)
        client = await stack.enter_async_context(AsyncClient(url, api_key=api_key))
        events = await stack.enter_async_context(aclosing(client.stream(picture, query, options=options)))
        async for event in events:
            drawing.draw(event)
            if isinstance(event, Answer):
                return event
    raise AssertionError("a stream either ends with its answer or raises")


async def own_service(stack: AsyncExitStack, console: Console) -> str:
    """The address of a service in this process, which lives as long as `stack`."""
    with console.status("loading the models"):
        return await stack.enter_async_context(serving(settings.load()))


def read_key(file: Path | None) -> str | None:
    """The API key in a file, where one is given: on a command line, other users of the machine would see it.

    Raises NotConfigured where the file holds none, or cannot be read.
    """
    if file is None:
        return None
    try:
        key = file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise NotConfigured(f"cannot read the API key in {file}: {error.strerror or error}") from error
    if not key or not key.isprintable() or " " in key:
        raise NotConfigured(f"{file} holds no API key: one line, nothing else")
    return key


def write_overlay(picture: bytes, answer: Answer, out: Path) -> None:
    """Write the picture with every submitted object painted over it; the format follows the suffix of `out`.

    Its folder is made if it is not there. Raises RSAgentError where the file cannot be written.
    """
    image = imaging.decode(picture, settings.load().limits.image)
    painted = Image.fromarray(np.ascontiguousarray(answer.overlay(image)))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        painted.save(out)
    except (OSError, ValueError) as error:
        raise RSAgentError(f"cannot write {out}: {error}; name a .png or .jpg file in a folder of yours") from error


def check_writable(out: Path) -> None:
    """Raise RSAgentError where no picture can have that name: said before the request, not after it."""
    if Image.registered_extensions().get(out.suffix.lower()) not in Image.SAVE:  # some are only ever read
        raise RSAgentError(f"cannot write {out}: name a .png or .jpg file")


def write_json(answer: Answer) -> None:
    """The whole answer on stdout."""
    sys.stdout.write(answer.document.model_dump_json(indent=1) + "\n")


def options_of(turns: int | None, deadline: float | None, pictures: bool, seed: int | None) -> Options:
    """The request's options from the command line's. Raises BadQuery for numbers that no service takes."""
    include = (Include.TURNS, Include.THOUGHTS, *((Include.OVERLAYS,) if pictures else ()))
    if deadline is not None and not math.isfinite(deadline):
        raise BadQuery("--deadline: a number of seconds")
    deadline_ms = None if deadline is None else round(deadline * 1000)
    given = {"max_turns": turns, "deadline_ms": deadline_ms, "include": include, "seed": seed}
    return parse_options(json.dumps(given))

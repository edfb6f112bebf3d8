"""A client that costs next to nothing, so that on a small machine the service is what is measured."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import httpx
import numpy as np

from rsagent import examples, imaging
from rsagent.settings import ImageLimits

PATIENCE = 60.0
"""Seconds after which a request counts as hung."""

Address = tuple[str, int]


@dataclass(frozen=True)
class Reply:
    """What became of a request: `status` 0 means that there was no answer, `seconds` run to the first byte of it."""

    status: int
    seconds: float
    total: float
    body: bytes
    hung: bool = False

    @property
    def code(self) -> str:
        """A problem's code, or the last event's; empty where there is none."""
        text = self.body.decode("utf-8", "replace")
        line = text.rpartition("data: ")[2] if "data: " in text else text.rpartition("\r\n\r\n")[2]
        try:
            return str(json.loads(line).get("code", ""))
        except (ValueError, AttributeError):
            return ""

    @property
    def is_told_to_the_end(self) -> bool:
        """Whether a stream had its last event."""
        return b"\nevent: final\n" in self.body or b"\nevent: error\n" in self.body


def request(
    stream: bool = False,
    query: str = "the box",
    picture: bytes | None = None,
    fields: Mapping[str, str] | None = None,
    **headers: str,
) -> bytes:
    """A whole request, ready for a socket: for one of the shipped pictures, small, unless another is given. `fields`
    are more of the form's."""
    form: Any = {"data": {"query": query, **(fields or {})}, "files": {"image": ("p.jpg", picture or small_picture())}}
    accept = "text/event-stream" if stream else "application/json"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    built = httpx.Request("POST", "http://stand/v1/segment", headers={"Accept": accept, **names}, **form)
    body = built.read()
    return head(built, "Connection: close") + body


@cache
def small_picture(number: int = 0, side: int = 256) -> bytes:
    """The shipped picture of that number, small, so that the service's own work is what is measured and not JPEG's."""
    pixels = imaging.decode(examples.load()[number].path.read_bytes(), ImageLimits())
    scale = side / max(pixels.shape)
    return imaging.encode_jpeg(cv2.resize(pixels, None, fx=scale, fy=scale).astype(np.uint8))


def head(built: httpx.Request, *more: str) -> bytes:
    """The request's line and headers."""
    lines = [f"{built.method} {built.url.raw_path.decode()} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in built.headers.items() if name != "connection"]
    return "\r\n".join([*lines, *more, "", ""]).encode("latin-1")


async def send(address: Address, payload: bytes, patience: float = PATIENCE) -> Reply:
    """Send it on a connection of its own and read the answer to its end."""
    started = time.perf_counter()
    first, body, writer, hung = 0.0, b"", None, False
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(payload)
            body = await reader.read(65536)
            first = time.perf_counter() - started
            body += await reader.read()
    except TimeoutError:
        hung = True
    except OSError:
        pass
    finally:
        if writer is not None:
            writer.transport.abort()
    status = int(body[9:12]) if body.startswith(b"HTTP/1.1 ") and body[9:12].isdigit() else 0
    return Reply(status, first, time.perf_counter() - started, body, hung)


async def offer(address: Address, payloads: bytes | Iterator[bytes], rate: float, seconds: float) -> list[Reply]:
    """Send `rate` requests a second, whatever becomes of them, and wait for all of their answers."""
    source = itertools.repeat(payloads) if isinstance(payloads, bytes) else payloads
    loop, sent = asyncio.get_running_loop(), []
    started = loop.time()
    for number in range(round(rate * seconds)):
        if (pause := started + number / rate - loop.time()) > 0:
            await asyncio.sleep(pause)
        sent.append(asyncio.create_task(send(address, next(source))))
    return list(await asyncio.gather(*sent))

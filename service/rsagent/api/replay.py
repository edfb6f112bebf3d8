"""Requests with an `Idempotency-Key`: performed once into a recording, which everyone who asks is told."""

from __future__ import annotations

import asyncio
import re
from functools import partial

from fastapi import Request, Response
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from rsagent.agent.events import Ended, Event
from rsagent.api.bodies import JSON
from rsagent.api.episode import Episode
from rsagent.api.house import Visit
from rsagent.api.ledger import Name, Recording
from rsagent.api.problems import CANCELLED
from rsagent.api.stream import EVENT_STREAM, HEADERS, KEEP_ALIVE
from rsagent.api.waiting import ClientGone, hung_up, unless
from rsagent.errors import BadQuery

KEY = "Idempotency-Key"
LAST_EVENT = "Last-Event-ID"
REPLAYED = "Idempotent-Replayed"
"""In the answer's headers where another request, the first of that key, did the work."""

_PLAIN = re.compile(r"[!-~]{1,255}")


def key_of(headers: Headers) -> str | None:
    """The request's Idempotency-Key. Raises BadQuery if it is none that could be kept."""
    key = headers.get(KEY)
    if key is not None and not _PLAIN.fullmatch(key):
        raise BadQuery(f"{KEY}: 1 to 255 visible ASCII characters, such as a UUID")
    return key


async def respond(request: Request, visit: Visit, episode: Episode, key: str, *, stream: bool) -> Response:
    """Perform `episode` if it is the first of its key, and answer with what was recorded.

    Raises Conflict if the key stands for another request.
    """
    house, after = visit.house, _last_event(request.headers)
    fingerprint = await house.service.offload(episode.fingerprint)
    name = (visit.tenant.name, key)
    recording, is_new = house.ledger.open(name, fingerprint, partial(_perform, visit, episode))
    if is_new:
        visit.hand_over()  # the recording may outlive this request, and holds the permit as long as it runs
    else:
        visit.permit.release()  # listening takes no place
    told = {} if is_new else {REPLAYED: "true"}
    if stream:
        return Replay(visit, name, recording, 0 if is_new else after, told)
    return Ending(visit, name, recording, told)


class Ending(Response):
    """Answers with a recording's document once there is one. It waits as a response, when the request's picture is out
    of memory: any number may listen, and only who performs needs the picture."""

    def __init__(self, visit: Visit, name: Name, recording: Recording, headers: dict[str, str]) -> None:
        super().__init__(media_type=JSON, headers=headers)
        self._visit, self._name, self._recording, self._told = visit, name, recording, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what the recording failed with, and ClientGone."""
        with self._visit.house.ledger.listening(self._name, self._recording):
            body = await unless(self._recording.ended(), hung_up(receive))
        self._visit.outcome = self._recording.outcome
        await Response(body, media_type=JSON, headers=self._told)(scope, receive, send)


class Replay(Response):
    """Tells a recording as `text/event-stream`, after its first `after` events, while it is still made or later."""

    media_type = EVENT_STREAM

    def __init__(self, visit: Visit, name: Name, recording: Recording, after: int, headers: dict[str, str]) -> None:
        self.status_code = 200
        self.background = None
        self._visit, self._name, self._recording = visit, name, recording
        self._after = min(after, len(recording.frames))
        self._over = False
        self.init_headers(HEADERS | headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            with self._visit.house.ledger.listening(self._name, self._recording):
                await unless(self._send_all(send), hung_up(receive))
        except ClientGone:
            if not self._over:
                self._visit.outcome = CANCELLED

    async def _send_all(self, send: Send) -> None:
        while chunk := await self._next():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        self._over = True
        self._visit.outcome = self._recording.outcome
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self) -> bytes:
        """What to send next: what has happened since, or a comment if nothing did; nothing after the end."""
        try:
            async with asyncio.timeout(self._visit.house.service.settings.server.keep_alive):
                frames = await self._recording.more(self._after)
        except TimeoutError:
            return KEEP_ALIVE
        self._after += len(frames)
        return b"".join(frames)


async def _perform(visit: Visit, episode: Episode, recording: Recording) -> None:
    """Play the episode into its recording, and give its permit back."""
    document = b""

    async def put(event: Event) -> None:
        nonlocal document
        recording.tell(*_frames(await episode.tell(event)))
        if isinstance(event, Ended):
            document = await episode.document(event.result)

    try:
        recording.tell(episode.opening())
        await episode.play(put)
        recording.finish(document, visit.outcome)
    except Exception as error:  # noqa: BLE001  whatever it is becomes the last event, and is logged there
        recording.tell(episode.failed(error))
        recording.fail(error, visit.outcome)
    finally:
        visit.permit.release()


def _frames(chunk: bytes) -> list[bytes]:
    """Frames that were told together, apart; none holds an empty line but at its end."""
    return [frame + b"\n\n" for frame in chunk.split(b"\n\n") if frame]


def _last_event(headers: Headers) -> int:
    given = headers.get(LAST_EVENT, "0")
    if not (given.isascii() and given.isdecimal() and len(given) < 10):
        raise BadQuery(f"{LAST_EVENT}: the id of the last event that arrived, a whole number")
    return int(given)

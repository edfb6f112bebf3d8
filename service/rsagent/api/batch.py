"""`POST /v1/segment/batch`: many requests in one, a line each, answered a line each as they are done.

The body is read whole, and bounded, before the first row goes out: clients that read only once they have sent
everything, as most do, would otherwise wait for us while we wait for them. Each request then passes the gate by
itself, a few at a time, so that a batch takes no more than its share and a long one holds nobody up.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from rsagent.api import bodies, openapi
from rsagent.api.answers import SegmentAnswer
from rsagent.api.episode import Episode
from rsagent.api.gate import Permit
from rsagent.api.house import House, HouseDependency, Visit
from rsagent.api.keys import Tenant
from rsagent.api.problems import CANCELLED, Problem, problem_of
from rsagent.api.requests import BatchItem
from rsagent.api.waiting import ClientGone, hung_up, unless
from rsagent.deadline import Deadline
from rsagent.errors import BadQuery, Overloaded, TooLarge, UnsupportedFormat
from rsagent.settings import BatchLimits

NDJSON = "application/x-ndjson"
_KINDS = (NDJSON, "application/ndjson", "application/jsonl")
RETRY_AFTER = 5.0
"""Seconds after which another batch may find a place."""

router = APIRouter()


class BatchRow(BaseModel):
    """What came of one line: an answer or an error."""

    model_config = ConfigDict(frozen=True)

    index: int = Field(description="The line's place in the batch, from 0.")
    id: str | int | None = Field(None, description="The line's own `id`.")
    answer: SegmentAnswer | None = None
    error: Problem | None = None


class Batches:
    """How many batches are being served."""

    def __init__(self) -> None:
        self.running = 0

    def enter(self, limits: BatchLimits) -> None:
        """Count one more. Raises Overloaded if there are enough."""
        if self.running >= limits.at_once:
            raise Overloaded("enough batches are being served: try again later", retry_after=RETRY_AFTER)
        self.running += 1

    def leave(self) -> None:
        self.running -= 1


def _batches(request: Request) -> Batches:
    state = request.app.state
    if not hasattr(state, "batches"):
        state.batches = Batches()
    found = state.batches
    assert isinstance(found, Batches)
    return found


@router.post("/v1/segment/batch", response_class=Response, **openapi.batch(BatchItem, BatchRow))
async def segment_batch(
    request: Request, house: HouseDependency, batches: Annotated[Batches, Depends(_batches)]
) -> Response:
    """Many requests at once: a JSON request a line, with an `id` of yours if you like, and a row for each as it is
    done, in no order.

    A line that cannot be served has an `error` (a problem document) in its row; the others go on.
    """
    limits = house.service.settings.limits
    batches.enter(limits.batch)
    try:
        lines = _split(await _read(request, limits.batch), limits.batch)
    except BaseException:
        batches.leave()
        raise
    return _RowStream(_Batch(house, request.state.tenant, request.state.request_id, lines), batches)


async def _read(request: Request, limits: BatchLimits) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _KINDS or request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedFormat(f"send {NDJSON}, uncompressed: a JSON request a line")
    return await bodies.read_bounded(request, limits.max_bytes, limits.upload_timeout)


def _split(body: bytes, limits: BatchLimits) -> list[bytes]:
    lines = [line for line in body.splitlines() if line.strip()]
    if not lines:
        raise BadQuery("the batch is empty: send a JSON request a line")
    if len(lines) > limits.items:
        raise TooLarge(f"the batch has {len(lines)} requests; at most {limits.items} are taken: send several batches")
    return lines


class _Batch:
    """The lines of a batch on their way to rows. What is done is let go of."""

    def __init__(self, house: House, tenant: Tenant, request_id: str, lines: list[bytes]) -> None:
        self._house = house
        self._tenant = tenant
        self._request_id = request_id
        self._waiting = deque(enumerate(lines))
        self._limits = house.service.settings.limits

    async def rows(self) -> AsyncGenerator[bytes, None]:
        """A row for each line, as they are done. Closing the generator ends what runs."""
        rows: asyncio.Queue[bytes] = asyncio.Queue(1)
        count = len(self._waiting)
        crew = [asyncio.create_task(self._work(rows)) for _ in range(min(count, self._limits.batch.share))]
        try:
            for _ in range(count):
                yield await rows.get()
        finally:
            for task in crew:
                task.cancel()
            await asyncio.gather(*crew, return_exceptions=True)

    async def _work(self, rows: asyncio.Queue[bytes]) -> None:
        while self._waiting:
            index, line = self._waiting.popleft()
            await rows.put(await self._row(index, line))

    async def _row(self, index: int, line: bytes) -> bytes:
        request_id = f"{self._request_id}-{index}"
        try:
            row = {"index": index, "id": None, "answer": await self._answer(request_id, line)}
        except Exception as error:  # noqa: BLE001  whatever it is becomes the line's error, and is logged there
            row = {"index": index, "id": None, "error": problem_of(error, request_id).model_dump(exclude_none=True)}
        row["id"] = _id_of(line)
        return json.dumps(row, separators=(",", ":")).encode() + b"\n"

    async def _answer(self, request_id: str, line: bytes) -> Any:
        arrived = time.monotonic()
        permit = await self._admitted()
        visit = Visit(self._house, request_id, self._tenant, arrived, permit)
        try:
            episode = Episode(visit, await self._call(line, visit))
            return json.loads(await unless(episode.answer(), self._house.drain.cut_off()))
        except asyncio.CancelledError:
            visit.outcome = CANCELLED
            raise
        except Exception as error:
            visit.outcome = problem_of(error, request_id).code
            raise
        finally:
            visit.end()

    async def _call(self, line: bytes, visit: Visit) -> bodies.Call:
        """The call in a line, its picture decoded in a worker; fetched, where that is switched on."""
        offload, limits = self._house.service.offload, self._limits
        call = await offload(lambda: bodies.parse_line(line, limits))
        if isinstance(call, bodies.Call):
            return call
        addressed = call
        data = await self._house.fetcher.fetch(addressed.url, visit.granted(addressed.options))
        return await offload(lambda: addressed.with_picture(data, limits))

    async def _admitted(self) -> Permit:
        """A permit. One that is granted in the very step in which the wait for it is cancelled is given back."""
        granted: list[Permit] = []
        patience = Deadline.after(self._limits.batch.patience)
        try:
            return await unless(self._permit(patience, granted), self._house.drain.cut_off())
        except BaseException:
            for permit in granted:
                permit.release()
            raise

    async def _permit(self, patience: Deadline, granted: list[Permit]) -> Permit:
        """A permit, put into `granted`; a full gate is tried again, since nobody but us can come back later."""
        while True:
            try:
                granted.append(await self._house.gate.enter(self._tenant))
                return granted[-1]
            except Overloaded as refusal:
                pause = refusal.retry_after or 1.0
                if pause >= patience.remaining():
                    raise
                await asyncio.sleep(pause)


def _id_of(line: bytes) -> str | int | None:
    """A line's `id`, also where the rest of it is wrong."""
    try:
        given = json.loads(line).get("id")
    except (ValueError, AttributeError, RecursionError):
        return None
    return given if isinstance(given, str) or type(given) is int else None


class _RowStream(Response):
    """A batch's rows as they are done."""

    media_type = NDJSON

    def __init__(self, batch: _Batch, batches: Batches) -> None:
        self.status_code = 200
        self.background = None
        self._batch = batch
        self._batches = batches
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await unless(self._send_all(send), hung_up(receive))  # the door hangs up on who takes nothing
        except ClientGone:
            return  # what still ran was counted as cancelled
        finally:
            self._batches.leave()

    async def _send_all(self, send: Send) -> None:
        async with aclosing(self._batch.rows()) as rows:
            async for row in rows:
                await send({"type": "http.response.body", "body": row, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

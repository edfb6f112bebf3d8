"""Rule 5: a peer who reads or sends slowly is bounded in time and in memory, and holds no place meanwhile."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from typing import Any

import httpx
import pytest
from tests.api.stage import FINISH, PNG, SEGMENT, Cast, Stage, call, on_air, on_stage

from rsagent.api.protocol import LEAST, MAX_HEAD, BoundedProtocol, Counted
from rsagent.policy.fake import ScriptedPolicy
from rsagent.policy.protocol import History


def talkative(history: History) -> str:
    """A long thought: about a megabyte of events a turn."""
    box = [len(history), len(history), 900, 900]
    return "<think>" + "word " * 2000 + call("segment", bbox_2d=box).removeprefix("<think>")


async def post(stage: Stage, peer: socket.socket, accept: str, **fields: str) -> None:
    """A request for one answer, sent on a socket of ours."""
    form: Any = {"data": {"query": "x", **fields}, "files": {"image": ("p", PNG)}}
    await send(stage, peer, stage.client.build_request("POST", "/v1/segment", headers={"Accept": accept}, **form))


async def send(stage: Stage, peer: socket.socket, request: httpx.Request) -> None:
    """Send a request on a socket with small buffers, so that little of the answer hides in the kernel."""
    stage.listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.setblocking(False)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    host, port = address(stage)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(peer, (host, port))
    await loop.sock_sendall(peer, f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + await request.aread())


def address(stage: Stage) -> tuple[str, int]:
    host, port = stage.url.removeprefix("http://").split(":")
    return host, int(port)


async def disconnected(stage: Stage) -> None:
    """The server has let go of the connection and of what it buffered for it."""
    assert stage.server is not None
    async with asyncio.timeout(10):
        while any(map(is_telling, stage.server.server_state.connections)):
            await asyncio.sleep(0.05)


def is_telling(connection: Any) -> bool:
    """Whether there is still something that its client has not been told."""
    unsent = connection.transport.get_write_buffer_size()
    return connection.cycle is not None and (unsent or not connection.cycle.response_complete)


async def sip(peer: socket.socket) -> None:
    """Read a byte now and then."""
    while await asyncio.get_running_loop().sock_recv(peer, 1):
        await asyncio.sleep(0.02)


async def test_a_sipping_reader_of_a_stream_is_dropped_and_frees_its_place() -> None:
    policy = ScriptedPolicy(talkative, piece=1)
    settings = {"server": {"send_timeout": 0.5}, "limits": {"max_turns": 500}}
    async with on_air(Cast(policy=policy, settings=settings)) as stage:
        with socket.socket() as peer:
            await post(stage, peer, "text/event-stream", max_turns="500")
            sipping = asyncio.create_task(sip(peer))
            async with asyncio.timeout(30):
                while not stage.metric("cancelled_total"):
                    await asyncio.sleep(0.02)
            await stage.quiet()
            assert policy.started < 8, "the episode never ran far ahead of its reader"
            await disconnected(stage)
            sipping.cancel()
            await asyncio.gather(sipping, return_exceptions=True)


async def test_a_deaf_reader_of_a_long_document_holds_no_place_and_is_cut_off() -> None:
    policy = ScriptedPolicy(lambda history: talkative(history) if len(history) < 40 else FINISH)
    settings = {"server": {"send_timeout": 0.5}, "limits": {"max_turns": 100, "turns": 100}}
    async with on_air(Cast(policy=policy, settings=settings)) as stage:
        with socket.socket() as peer:
            await post(stage, peer, "application/json", max_turns="40")
            async with asyncio.timeout(30):
                while not stage.metric("request_seconds_count"):
                    await asyncio.sleep(0.02)
            await stage.quiet()
            await disconnected(stage)


async def test_a_reader_who_takes_some_of_everything_still_has_an_end() -> None:
    """Each piece is taken in time, but all of them together would take longer than the request had."""
    sent: list[float] = []
    aborted = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body" and not aborted.is_set():
            sent.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.35)  # of 0.4 that are granted

    async def receive() -> Any:
        if body:
            return {"type": "http.request", "body": body.pop(), "more_body": False}
        await aborted.wait()
        return {"type": "http.disconnect"}

    policy = ScriptedPolicy(talkative, piece=100, piece_delay=0.001)
    async with on_stage(Cast(policy=policy, settings={"server": {"send_timeout": 0.4}})) as stage:
        form: Any = {"data": {"query": "x", "deadline_ms": "600"}, "files": {"image": ("p", PNG)}}
        request = stage.client.build_request("POST", "/v1/segment", headers={"Accept": "text/event-stream"}, **form)
        body = [await request.aread()]
        extensions = {"rsagent": {"abort": aborted.set, "gone": aborted}}
        scope = {
            "type": "http", "method": "POST", "path": "/v1/segment", "raw_path": b"/v1/segment", "query_string": b"",
            "headers": [(name.lower(), value) for name, value in request.headers.raw], "http_version": "1.1",
            "scheme": "http", "root_path": "", "extensions": extensions,
        }  # fmt: skip
        await asyncio.wait_for(stage.app(scope, receive, send), 60)
        await stage.quiet()
        assert stage.metric("requests_total", outcome="cancelled") == 1
    assert aborted.is_set()
    assert len(sent) <= 4, "a reader of a byte a second would hold its place for hours"


@pytest.mark.parametrize("begun", [b"", b"POST /v1/segment HTTP/1.1\r\nHost: x\r\n", b"\r\n"])
async def test_headers_that_never_come_end_the_connection(begun: bytes) -> None:
    async with on_air(Cast(settings={"server": {"header_timeout": 0.2}})) as stage:
        reader, writer = await asyncio.open_connection(*address(stage))
        writer.write(begun)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        writer.close()


async def test_headers_without_end_are_refused() -> None:
    async with on_air() as stage:
        reader, writer = await asyncio.open_connection(*address(stage))
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        answer = asyncio.create_task(reader.readline())
        for number in range(2000):
            writer.write(b"X-%d: " % number + b"y" * 1000 + b"\r\n")
            await asyncio.sleep(0)
            if answer.done():
                break
        assert (await asyncio.wait_for(answer, 10)).startswith(b"HTTP/1.1 400 ")
        assert number * 1000 < 20 * MAX_HEAD
        writer.close()


async def test_a_request_that_takes_longer_than_headers_may_is_not_cut() -> None:
    policy = ScriptedPolicy([SEGMENT, FINISH], delay=0.3)
    async with on_air(Cast(policy=policy, settings={"server": {"header_timeout": 0.1}})) as stage:
        for _ in range(2):  # the second on the connection of the first
            assert (await stage.post()).status_code == 200


async def test_a_deaf_reader_of_a_batch_is_cut_off() -> None:
    policy = ScriptedPolicy(lambda history: talkative(history) if len(history) < 20 else FINISH)
    settings = {"server": {"send_timeout": 0.5}, "limits": {"max_turns": 100, "turns": 100}}
    line = json.dumps({"image": base64.b64encode(PNG).decode(), "query": "x", "options": {"max_turns": 20}})
    async with on_air(Cast(policy=policy, settings=settings)) as stage:
        with socket.socket() as peer:
            body: Any = {"headers": {"Content-Type": "application/x-ndjson"}, "content": f"{line}\n" * 8}
            await send(stage, peer, stage.client.build_request("POST", "/v1/segment/batch", **body))
            async with asyncio.timeout(30):
                while not stage.metric("request_seconds_count"):
                    await asyncio.sleep(0.02)
            await disconnected(stage)
            await stage.quiet()


class Wire:
    """A transport whose peer takes what the test says."""

    def __init__(self) -> None:
        self.unsent, self.aborted = 0, False

    def write(self, data: bytes) -> None:
        self.unsent += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True


class Clock:
    """A loop that does what is due later when the test says so."""

    def __init__(self) -> None:
        self.due: list[Any] = []

    def call_later(self, seconds: float, then: Any, *given: Any) -> Any:
        self.due.append(lambda: then(*given))
        return object()

    def pass_by(self) -> None:
        due, self.due = self.due, []
        for then in due:
            then()


def test_who_took_an_answer_is_not_judged_by_the_next_one() -> None:
    wire, clock = Wire(), Clock()
    connection: Any = BoundedProtocol.__new__(BoundedProtocol)
    connection.transport = connection._counted = counted = Counted(wire)  # type: ignore[arg-type]
    connection.loop, connection._tail = clock, None
    counted.write(bytes(50_000))
    connection._watch_tail()
    wire.unsent = 0
    counted.write(bytes(1_000_000))  # a later answer, on the same connection
    clock.pass_by()
    assert not wire.aborted
    wire.unsent -= LEAST
    clock.pass_by()
    assert not wire.aborted, "slow, but taking"
    clock.pass_by()
    assert wire.aborted

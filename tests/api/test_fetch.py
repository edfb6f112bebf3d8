from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import httpx
import pytest

from rsagent.api.fetch import Fetcher, is_public
from rsagent.api.settings import FetchSettings
from rsagent.deadline import Deadline
from rsagent.errors import BadImageUrl, DeadlineExceeded, TooLarge

PUBLIC = "93.184.216.34"


class Web:
    """A pretended internet: what each name resolves to, time after time, and what is answered."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response] | None = None, **names: Sequence[str]) -> None:
        self.names = {name.replace("_", "."): list(addresses) for name, addresses in names.items()}
        self.dialled: list[httpx.Request] = []
        self.resolved: list[str] = []
        self._answer = answer or (lambda request: httpx.Response(200, content=b"picture"))

    async def resolve(self, host: str) -> Sequence[str]:
        self.resolved.append(host)
        if host not in self.names:
            raise OSError("no such host")
        return self.names[host]

    async def fetch(self, url: str, *, enabled: bool = True, max_bytes: int = 100) -> bytes:
        def dial(request: httpx.Request) -> httpx.Response:
            self.dialled.append(request)
            return self._answer(request)

        transport = httpx.MockTransport(dial)
        fetcher = Fetcher(FetchSettings(enabled=enabled, timeout=5), max_bytes, self.resolve, transport)
        return await fetcher.fetch(url, Deadline.after(20))


async def test_a_public_picture_is_fetched_from_the_very_address_that_was_checked() -> None:
    web = Web(a_example=[PUBLIC, "93.184.216.35"])
    assert await web.fetch("https://a.example/cat.jpg?x=1#y") == b"picture"
    (request,) = web.dialled
    assert web.resolved == ["a.example"], "once"
    assert request.url == f"https://{PUBLIC}/cat.jpg?x=1"
    assert request.headers["host"] == "a.example"
    assert request.extensions["sni_hostname"] == "a.example", "the certificate must be the name's"
    assert not {"cookie", "authorization", "referer"} & set(request.headers)


async def test_it_is_off_by_default() -> None:
    web = Web(a_example=[PUBLIC])
    with pytest.raises(BadImageUrl, match="addresses are not fetched"):
        await web.fetch("https://a.example/cat.jpg", enabled=False)
    assert web.resolved == []


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example/", "file:///etc/passwd", "ftp://a.example/", "https://a.example:8443/", "https://u:p@a.example/",
        "https://", "https:///x", "https://nowhere.example/", "https://[::1", "https://a.example\\@b.example/",
    ],
)  # fmt: skip
async def test_other_addresses_are_not_dialled(url: str) -> None:
    web = Web(a_example=[PUBLIC])
    with pytest.raises(BadImageUrl):
        await web.fetch(url)
    assert web.dialled == []


@pytest.mark.parametrize("status", [204, 302, 404, 500])
async def test_what_is_no_picture_is_refused_in_the_same_words(status: int) -> None:
    web = Web(lambda request: httpx.Response(status), a_example=[PUBLIC])
    with pytest.raises(BadImageUrl, match="cannot be had from this address"):
        await web.fetch("https://a.example/")


async def test_bytes_are_capped_and_compression_refused() -> None:
    with pytest.raises(TooLarge):
        await Web(lambda request: httpx.Response(200, content=bytes(101)), a_example=[PUBLIC]).fetch(
            "https://a.example/"
        )
    packed = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"x"))
    with pytest.raises(BadImageUrl):
        await Web(lambda request: packed, a_example=[PUBLIC]).fetch("https://a.example/")


async def test_redirects_are_counted() -> None:
    web = Web(lambda request: httpx.Response(302, headers={"location": "/again"}), a_example=[PUBLIC])
    with pytest.raises(BadImageUrl):
        await web.fetch("https://a.example/")
    assert len(web.dialled) == 4
    assert web.resolved == ["a.example"] * 4, "each hop is resolved and checked anew"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        (PUBLIC, True), ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False), ("10.0.0.1", False), ("172.16.5.4", False), ("192.168.1.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False),
        ("255.255.255.255", False), ("192.0.2.1", False), ("198.18.0.1", False), ("240.0.0.1", False),
        ("::1", False), ("::", False), ("fe80::1", False), ("fe80::1%eth0", False),
        ("fd00::1", False), ("ff02::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:169.254.169.254", False), ("::ffff:7f00:1", False),
        ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("2001:0:7f00:1::", False), ("::7f00:1", False),
        ("not an address", False), ("", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_the_requests_own_time_ends_it() -> None:
    async def never(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return httpx.Response(200)

    web = Web(a_example=[PUBLIC])
    fetcher = Fetcher(FetchSettings(enabled=True, timeout=5), 100, web.resolve, httpx.MockTransport(never))
    with pytest.raises(DeadlineExceeded):
        await fetcher.fetch("https://a.example/", Deadline.after(0.05))

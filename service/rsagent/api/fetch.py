"""Pictures by address, fetched so that nobody can turn the fetcher inward. Off unless the settings say otherwise.

Only https on its own port; the name is resolved once, every address it has must be global, and one of those very
addresses is dialled (a name that resolves otherwise a moment later changes nothing); each redirect is checked as the
first address; bytes and time are capped; neither proxies nor credentials of this machine are used. Whatever goes
wrong is told in the same words, so that nobody explores a network by them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from rsagent.api.settings import FetchSettings
from rsagent.deadline import Deadline
from rsagent.errors import BadImageUrl, TooLarge

HTTPS = 443
REFUSAL = "the picture cannot be had from this address: it must be a public https address that answers with a picture"

log = logging.getLogger(__name__)

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""A host's name to all its addresses."""

_INSIDE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "64:ff9b::/96",  # NAT64, which may lead to any IPv4 address
        "64:ff9b:1::/48",
        "2002::/16",  # 6to4
        "2001::/32",  # Teredo
        "::/96",  # IPv4-compatible
    )
)
"""IPv6 addresses that wrap an IPv4 one, though some count as global."""


class _Turned(Exception):
    """An address we do not go to, and why: for the log alone."""


@dataclass(frozen=True, slots=True)
class _Hop:
    """A checked address: its URL, and the one IP address that is dialled for it."""

    url: httpx.URL
    address: str

    def request(self, http: httpx.AsyncClient) -> httpx.Request:
        """The request to that IP address; its certificate must still be the name's."""
        host = self.url.host
        return http.build_request(
            "GET",
            self.url.copy_with(host=self.address),
            headers={"Host": host, "Accept": "image/jpeg, image/png, image/webp", "Accept-Encoding": "identity"},
            extensions={"sni_hostname": host},
        )


async def resolve(host: str) -> Sequence[str]:
    """All addresses of a host by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, HTTPS, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the open internet, and to no IPv4 network in disguise."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # a scope, `fe80::1%eth0`, or no address at all
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if any(found in network for network in _INSIDE):
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


class Fetcher:
    """Fetches pictures, at most `max_bytes` long. `resolve` and `transport` are for tests."""

    def __init__(
        self,
        settings: FetchSettings,
        max_bytes: int,
        resolve: Resolve = resolve,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._max_bytes = max_bytes
        self._resolve = resolve
        self._transport = transport

    async def fetch(self, url: str, deadline: Deadline) -> bytes:
        """The bytes at `url`. Raises BadImageUrl, TooLarge, and DeadlineExceeded where the request's time ended it."""
        if not self._settings.enabled:
            raise BadImageUrl("addresses are not fetched: send the picture itself, base64")
        try:
            async with asyncio.timeout(min(self._settings.timeout, deadline.remaining())):
                return await self._fetch(url)
        except (_Turned, TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            log.info("a picture was not fetched: %r", error)
            deadline.check()
            raise BadImageUrl(REFUSAL) from error

    async def _fetch(self, url: str) -> bytes:
        async with httpx.AsyncClient(transport=self._transport, trust_env=False, follow_redirects=False) as http:
            for _ in range(self._settings.redirects + 1):
                hop = await self._check(url)
                response = await http.send(hop.request(http), stream=True)
                try:
                    if not response.is_redirect:
                        return await self._read(response)
                    url = str(hop.url.join(response.headers.get("location", "")))
                finally:
                    await response.aclose()
        raise _Turned("too many redirects")

    async def _check(self, url: str) -> _Hop:
        parsed = httpx.URL(url)
        if parsed.scheme != "https" or parsed.port not in (None, HTTPS) or parsed.userinfo or not parsed.host:
            raise _Turned("only plain https addresses are fetched")
        addresses = await self._resolve(parsed.host)
        if not addresses or not all(is_public(address) for address in addresses):
            raise _Turned("not every address of that host is public")
        return _Hop(parsed.copy_with(fragment=None), addresses[0])

    async def _read(self, response: httpx.Response) -> bytes:
        if response.status_code != httpx.codes.OK:
            raise _Turned(f"status {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise _Turned("a compressed answer, which may be of any size")
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._max_bytes:
                raise TooLarge(f"the picture at this address has more than {self._max_bytes:,} bytes")
        return bytes(body)

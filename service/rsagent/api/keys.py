"""API keys: kept as hashes, compared in constant time, each with its rate and its share.

A key file has a line a key, `#` begins a comment:

    NAME SHA256 [rate=2.5] [concurrency=4]

Keys are long and random (`new_key`), so a plain hash keeps them: there is nothing to guess that salt or slowness
would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rsagent.api.settings import KeySettings
from rsagent.errors import NotConfigured, RateLimited, Unauthorized

PREFIX = "rsa_"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ADVICE = "send your API key as `Authorization: Bearer KEY` or `X-API-Key: KEY`"


def new_key() -> str:
    """A fresh key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """The sha256 of a key, in hex: what is kept of it."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who asks: the name of a key (empty where no keys are asked for), requests a second, requests at once."""

    name: str = ""
    rate: float | None = None
    concurrency: int | None = None


ANYONE = Tenant()
"""Who asks where no keys are asked for."""


@dataclass(slots=True)
class _Bucket:
    """A token bucket: `rate` tokens a second, at most one second's worth (and at least one) saved."""

    rate: float
    saved: float = field(init=False)
    at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.saved = max(1.0, self.rate)

    def take(self, now: float) -> float:
        """Take a token; seconds until there is one, if there is none."""
        self.saved = min(max(1.0, self.rate), self.saved + (now - self.at) * self.rate)
        self.at = now
        if self.saved < 1:
            return (1 - self.saved) / self.rate
        self.saved -= 1
        return 0.0


class Keyring:
    """The keys that are let in. An empty one lets everybody in, as `ANYONE`."""

    def __init__(
        self, tenants: Mapping[str, Tenant] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tenants = {bytes.fromhex(digest): tenant for digest, tenant in (tenants or {}).items()}
        self._buckets = {t.name: _Bucket(t.rate) for t in self._tenants.values() if t.rate is not None}
        self._clock = clock

    @classmethod
    def load(cls, settings: KeySettings, inflight: int) -> Keyring:
        """The keys that the settings name, of a service that serves `inflight` requests at once.

        Raises NotConfigured, naming the line that is wrong.
        """
        entries = [Entry(name, digest) for name, digest in settings.hashes.items()]
        if settings.file is not None:
            entries += _read(Path(settings.file))
        share = -(-inflight // 2) if len(entries) > 1 else inflight
        cap = settings.concurrency or share
        return cls({entry.digest: entry.tenant(settings.rate, cap) for entry in _distinct(entries)})

    def __len__(self) -> int:
        return len(self._tenants)

    def admit(self, key: str | None) -> Tenant:
        """Whose key it is. Raises Unauthorized, and RateLimited where that tenant asks too often."""
        if not self._tenants:
            return ANYONE
        tenant = self._find(key)
        bucket = self._buckets.get(tenant.name)
        wait = 0.0 if bucket is None else bucket.take(self._clock())
        if wait:
            raise RateLimited("this API key asks too often: slow down", retry_after=wait)
        return tenant

    def _find(self, key: str | None) -> Tenant:
        if not key:
            raise Unauthorized(f"an API key is needed: {_ADVICE}")
        digest, found = bytes.fromhex(hash_key(key)), None
        for known, tenant in self._tenants.items():  # all of them: the time taken tells nothing
            if hmac.compare_digest(known, digest):
                found = tenant
        if found is None:
            raise Unauthorized(f"this API key is not known: {_ADVICE}")
        return found


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as it is kept."""

    name: str
    digest: str
    rate: float | None = None
    concurrency: int | None = None

    def tenant(self, rate: float | None, concurrency: int) -> Tenant:
        """Its tenant, with what the settings grant where its line says nothing."""
        return Tenant(self.name, self.rate or rate, self.concurrency or concurrency)

    def line(self) -> str:
        """As a key file has it."""
        extras = {"rate": self.rate, "concurrency": self.concurrency}
        return " ".join([self.name, self.digest, *(f"{key}={value:g}" for key, value in extras.items() if value)])


def parse_line(line: str) -> Entry:
    """A line of a key file. Raises ValueError saying what is wrong, and never repeating the line."""
    name, digest, *extras = [*line.split(), "", ""][: max(2, len(line.split()))]
    if not _NAME.fullmatch(name):
        raise ValueError("a name has letters, digits, dots, dashes and underscores")
    if not _SHA256.fullmatch(digest):
        raise ValueError("after the name comes the sha256 of the key, 64 hex digits (`rsagent key NAME` writes a line)")
    given = {key: value for key, _, value in (extra.partition("=") for extra in extras)}
    if not set(given) <= {"rate", "concurrency"}:
        raise ValueError("after the hash only rate=… and concurrency=… may follow")
    rate = float(given["rate"]) if "rate" in given else None
    concurrency = int(given["concurrency"]) if "concurrency" in given else None
    if (rate is not None and not 0 < rate < float("inf")) or (concurrency is not None and concurrency < 1):
        raise ValueError("rate and concurrency must be above 0")
    return Entry(name, digest, rate, concurrency)


def _read(path: Path) -> list[Entry]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NotConfigured(f"the key file {path} cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if text := line.partition("#")[0].strip():
            try:
                found.append(parse_line(text))
            except ValueError as error:
                raise NotConfigured(f"the key file {path}, line {number}: {error}") from error
    return found


def _distinct(entries: Iterable[Entry]) -> list[Entry]:
    """Raises NotConfigured where a name or a key is there twice."""
    listed = list(entries)
    for what in ("name", "digest"):
        values = [getattr(entry, what) for entry in listed]
        twice = next((entry.name for entry in listed if values.count(getattr(entry, what)) > 1), None)
        if twice is not None:
            raise NotConfigured(f"the API key {twice!r} has the {what} of another: give each key its own")
    return listed

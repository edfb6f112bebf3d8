"""What can be set about keys, repeated requests and image addresses. The environment is read by the settings root."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MIB = 1024 * 1024

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class KeySettings(BaseModel):
    """Who may ask, and how much. Without any key the service asks for none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str | None = Field(None, description="a file of keys, a line each as `rsagent key NAME` writes it")
    hashes: dict[str, Sha256] = Field(default={}, description="keys by name: the sha256 of each, in hex")
    rate: float | None = Field(None, gt=0, description="requests a second that a key may make; a line may say its own")
    concurrency: int | None = Field(
        None,
        ge=1,
        description="requests of a key served at once [half of limits.inflight where there are several keys]",
    )


class IdempotencySettings(BaseModel):
    """What is kept of requests that carry an Idempotency-Key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep: float = Field(600.0, ge=0, description="seconds that a finished answer can be asked for again")
    max_bytes: int = Field(64 * MIB, ge=0, description="finished answers kept at most, in bytes")
    orphan: float = Field(10.0, ge=0, description="seconds that a request runs on without anybody who listens")


class FetchSettings(BaseModel):
    """Pictures by address."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(False, description="take `image` as a public https address, too, and fetch it")
    timeout: float = Field(10.0, gt=0, description="seconds in which the picture must have arrived")
    redirects: int = Field(3, ge=0, description="redirects followed, each checked as the first address")

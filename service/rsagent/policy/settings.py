"""What can be set about the two policies. The environment is read by the settings root, never here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

MIB = 1024 * 1024

Urls = Annotated[str, StringConstraints(pattern=r"^https?://[^/\s,]+[^\s,]*(,\s*https?://[^/\s,]+[^\s,]*)*$")]


class LocalPolicySettings(BaseModel):
    """The in-process policy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str = Field(default="nano", description="'nano' (in the package), a checkpoint directory, or a hub id")
    revision: str | None = Field(default=None, description="pins a hub id to a commit")
    device: str = Field(default="auto", description="'auto', 'cpu', 'cuda', 'cuda:1', …")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        default="auto", description="'auto' is float32 on a CPU and the checkpoint's own type elsewhere"
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads that compute; None: one for a small model, else torch's own choice"
    )
    max_pixels: int = Field(default=1024 * 1024, ge=1024, description="largest view; rsagent.json goes first")
    max_context: int = Field(default=8192, ge=64, description="tokens of prompt and answer together")
    max_batch: int = Field(default=8, ge=1, description="turns generated at once")
    max_waiting: int = Field(default=64, ge=0, description="turns that may wait; beyond it: Overloaded")
    prefix_cache_bytes: int = Field(default=256 * MIB, ge=0, description="keys and values kept of earlier turns")
    image_cache_bytes: int = Field(default=32 * MIB, ge=0, description="vision features kept of images seen")


class OpenAIPolicySettings(BaseModel):
    """A policy behind an OpenAI-compatible server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: Urls = Field(
        default="http://127.0.0.1:8001/v1",
        description="up to and including /v1; several, set apart by commas, share the episodes",
    )
    model: str | None = Field(default=None, description="as the server calls it; None takes the first of /v1/models")
    api_key: SecretStr | None = Field(None, description="sent as a bearer token")
    server: Literal["generic", "vllm"] = Field(
        default="generic", description="'vllm' sends each image once, keeps stop strings and reports token ids"
    )
    guided: bool = Field(default=False, description="let vLLM sample nothing but well-formed calls of the dialect")
    cooldown: float = Field(default=2.0, gt=0, description="seconds between looks whether a failed server is back")
    dialect: str = Field(default="nano", description="what the served checkpoint speaks")
    max_pixels: int = Field(default=224 * 224, ge=1024, description="largest view, in pixels")
    min_pixels: int = Field(default=0, ge=0, description="smallest view; smaller pictures are enlarged to it")
    factor: int = Field(default=32, ge=1, description="patch size times merge size of the served checkpoint")
    image_format: Literal["auto", "png", "jpeg"] = Field(default="auto", description="'auto' is PNG up to 288 × 288 px")
    max_concurrent: int = Field(default=256, ge=1, description="turns in flight at once; beyond it: Overloaded")
    connect_timeout: float = Field(default=5.0, gt=0, description="seconds")
    stall_timeout: float = Field(default=60.0, gt=0, description="seconds without a byte that end a turn")

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses in `base_url`."""
        return tuple(url.strip() for url in self.base_url.split(","))

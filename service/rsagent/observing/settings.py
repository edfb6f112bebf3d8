"""What can be set about logs and traces. The environment is read by the settings root, never here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class LogSettings(BaseModel):
    """What the service says about itself on stderr."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Literal["debug", "info", "warning", "error"] = Field("warning", description="'info' has a line a request")
    format: Literal["text", "json"] = Field("text", description="'json' is one object a line")


class TracingSettings(BaseModel):
    """OpenTelemetry spans: request → turn → policy and segmenter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: str | None = Field(
        None, pattern=r"^https?://[^/\s]+", description="an OTLP/HTTP collector, up to and including /v1/traces"
    )
    service_name: str = Field("rsagent", min_length=1, description="what the spans say they come from")
    ratio: float = Field(1.0, ge=0, le=1, description="share of requests traced")

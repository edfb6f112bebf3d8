"""What can be set about breakers and retries. The environment is read by the settings root, never here."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BreakerSettings(BaseModel):
    """When a failing engine is given a rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    failures: int = Field(5, ge=1, description="failures in a row after which an engine is no longer asked")
    cooldown: float = Field(1.0, gt=0, description="seconds between looks whether it is back; doubled each time")
    longest: float = Field(15.0, gt=0, description="the most seconds between two looks")


class RetrySettings(BaseModel):
    """How often a failed segmenter call is made again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(True, description="make a failed segmenter call once more; a call changes nothing")
    jitter: float = Field(0.05, ge=0, description="the most seconds to wait before it")
    ratio: float = Field(0.2, ge=0, le=1, description="second calls allowed for each first one, in the long run")
    reserve: int = Field(10, ge=1, description="second calls that may come at once")


class ResilienceSettings(BaseModel):
    """Failing engines."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    breaker: BreakerSettings = BreakerSettings()
    retry: RetrySettings = RetrySettings()

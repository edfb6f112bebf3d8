"""What can be set about replicas on Ray Serve. The environment is read by the settings root, never here."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MIB = 1024 * 1024


class RaySettings(BaseModel):
    """Replicas of the segmenter on Ray Serve: on a cluster of one's own, or on one of this machine that is started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = Field(None, description="a Ray cluster's head, host:port; unset: one is started here")
    token_path: Path | None = Field(None, description="file with the cluster's token, unless Ray's own variables do")
    application: str = Field("rsagent-segmenter", description="name of the Serve application")
    deploy: bool = Field(True, description="deploy the application on a cluster that has none")
    replicas: int = Field(1, ge=1, description="replicas, each with the model and its own embeddings")
    max_replicas: int | None = Field(None, ge=1, description="grow up to so many under load; unset: never")
    target_ongoing: float = Field(
        4.0, gt=0, description="calls at once a replica is to have when growing and shrinking"
    )
    cpus: float = Field(1.0, ge=0, description="CPUs a replica takes")
    gpus: float = Field(0.0, ge=0, description="GPUs a replica takes: 0.25 puts four on one card")
    object_store_bytes: int = Field(256 * MIB, ge=80 * MIB, description="shared memory for pictures on their way")
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="port of Ray's metrics, where Ray is started here; unset: none are collected"
    )
    start_timeout: float = Field(180.0, gt=0, description="seconds until replicas must run")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError("replicas must not be above max_replicas")
        return self

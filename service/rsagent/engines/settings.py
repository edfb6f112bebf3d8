"""What can be set about vLLM as a child of the service. The environment is read by the settings root, never here."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class VLLMSettings(BaseModel):
    """vLLM started by the service: which, and how much of the machine it may take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: Path | None = Field(None, description="an interpreter that has vLLM [the environment of `make engines`]")
    checkpoint: str = Field("nano", description="'nano' (in the package), a checkpoint directory, or a hub id")
    revision: str | None = Field(None, description="pins a hub id to a commit")
    replicas: int = Field(1, ge=1, le=64, description="engines started side by side; an episode stays with one")
    devices: tuple[str, ...] = Field(
        (), description='CUDA_VISIBLE_DEVICES of each replica, such as ["0", "1"]; without it each sees all'
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="'auto' is float32 on a CPU and the checkpoint's own type elsewhere"
    )
    max_pixels: int = Field(1024 * 1024, ge=1024, description="largest view; the checkpoint's rsagent.json goes first")
    max_context: int = Field(32_768, ge=64, description="tokens of prompt and answer, if the checkpoint takes as many")
    max_images: int = Field(17, ge=1, description="views of an episode: one more than limits.max_turns covers all")
    max_batch: int = Field(64, ge=1, description="turns generated at once; more wait in the engine")
    block_size: int | None = Field(
        None, ge=1, description="tokens of a prefix-cache block [32 on a CPU, the finest there; vLLM's own on a GPU]"
    )
    kv_cache: int = Field(1, ge=1, description="GiB of keys and values, on a CPU")
    gpu_memory: float = Field(0.85, gt=0, le=1, description="share of a GPU's memory")
    threads: int | None = Field(
        None,
        ge=1,
        description="OpenMP threads, on a CPU, not bound to cores [all cores but one, divided among replicas]",
    )
    compiled: bool | None = Field(
        None,
        description="compile the language model, on a CPU: a quarter less work, the first start takes half a minute "
        "more [where there is a C++ compiler]",
    )
    guided: bool = Field(False, description="let it sample nothing but well-formed calls of the dialect")
    arguments: tuple[str, ...] = Field((), description='more of its command line, such as ["--seed", "7"]')
    start_timeout: float = Field(600.0, gt=0, description="seconds until it must answer")
    grace: float = Field(20.0, gt=0, description="seconds between SIGTERM and SIGKILL at the end")
    logs: Path = Field(
        Path("~/.local/state/rsagent"), description="folder of its log files; the newest hundred are kept"
    )

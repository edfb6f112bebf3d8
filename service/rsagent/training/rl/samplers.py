"""Who samples: the model that is trained, in this process, or a vLLM server that is given its weights.

vLLM (0.32 was read and tried) reloads weights in place from a checkpoint directory: `POST /collective_rpc` with method
`reload_weights` and `weights_path`, a route it serves only when started with `VLLM_SERVER_DEV_MODE=1`. The directory
must be one that the server sees. Its prefix and image caches hold what the old weights computed and are reset after.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import httpx

from rsagent.errors import PolicyError
from rsagent.policy.checkpoint import Checkpoint
from rsagent.policy.local import LocalPolicy
from rsagent.policy.openai import OpenAIPolicy
from rsagent.policy.protocol import Policy
from rsagent.policy.settings import LocalPolicySettings, OpenAIPolicySettings
from rsagent.training.chat.reading import Features
from rsagent.training.chat.saving import export

RELOAD_SECONDS = 600.0
BATCH = 128
"""Episodes that sample side by side; the others wait."""
PICTURES = 1 << 30
"""Bytes of vision features kept between playing and learning."""


class Sampler(Protocol):
    """A policy whose weights follow those that are trained."""

    @property
    def policy(self) -> Policy: ...

    async def renew(self) -> None:
        """From the next turn on, sample with the weights as they are now. No turn may be under way."""
        ...

    def known(self, uuid: str) -> Features | None:
        """What the vision tower, with the weights sampled with, made of a picture, where that is at hand."""
        ...

    async def close(self) -> None: ...


class InProcess:
    """The trained model itself: nothing to copy, only what it kept of earlier weights to forget."""

    def __init__(self, checkpoint: Checkpoint, episodes: int) -> None:
        settings = LocalPolicySettings(max_batch=min(episodes, BATCH), max_waiting=episodes, image_cache_bytes=PICTURES)
        self.policy = LocalPolicy(checkpoint, settings)

    async def renew(self) -> None:
        self.policy.forget()

    def known(self, uuid: str) -> Features | None:
        return self.policy.seen(uuid)

    async def close(self) -> None:
        await self.policy.close()


class Served:
    """A vLLM server, given the weights through a directory that both see.

    `url` ends in `/v1`. `model` is what is trained, `source` the checkpoint directory it came from.
    """

    def __init__(
        self,
        url: str,
        checkpoint: Checkpoint,
        model: Any,
        source: Path,
        shared: Path,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        view = checkpoint.view
        self.policy = OpenAIPolicy(
            OpenAIPolicySettings(
                base_url=url,
                server="vllm",
                dialect=checkpoint.dialect,
                max_pixels=view.max_pixels,
                min_pixels=view.min_pixels,
                factor=view.factor,
                image_format="png",  # lossless: the trainer reads the very pixels that the server saw
                max_concurrent=4096,
            ),
            transport,
        )
        self._model, self._source, self._shared = model, source, shared
        root = url.rstrip("/").removesuffix("/v1")
        self._http = httpx.AsyncClient(base_url=root, timeout=RELOAD_SECONDS, transport=transport, trust_env=False)

    async def renew(self) -> None:
        """Raises PolicyError, naming the fix, where the server does not reload."""
        export(self._model, self._source, self._shared)
        reload = {"method": "reload_weights", "kwargs": {"weights_path": str(self._shared.resolve())}}
        await self._post("/collective_rpc", reload)
        for cache in ("/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache"):
            await self._post(cache)

    def known(self, uuid: str) -> Features | None:
        """Nothing: another process computed it."""
        return None

    async def close(self) -> None:
        await self.policy.close()
        await self._http.aclose()

    async def _post(self, path: str, body: dict[str, Any] | None = None) -> None:
        try:
            response = await self._http.post(path, json=body)
        except httpx.HTTPError as error:
            raise PolicyError("vLLM cannot be reached to be given new weights; start it, or correct --vllm") from error
        if response.status_code == 404:
            raise PolicyError("vLLM has no route to reload weights: start it with VLLM_SERVER_DEV_MODE=1")
        if not response.is_success:
            raise PolicyError(f"vLLM refused new weights with {response.status_code}: {response.text[:300]}")

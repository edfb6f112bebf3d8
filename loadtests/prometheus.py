"""A real Prometheus with the shipped rules, for as long as a measurement takes; and what it answers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml  # type: ignore[import-untyped]  # brought by the dependencies, without types

SHIPPED = Path(__file__).parents[1] / "deploy" / "prometheus"
SCRAPE = "2s"
"""Between scrapes and evaluations here: a run lasts a minute, not a week."""


@dataclass(frozen=True)
class Prometheus:
    """One that answers at `url`."""

    url: str

    def ask(self, expr: str) -> list[float]:
        """The values of an expression now, by series. Raises ValueError where Prometheus refuses it."""
        return [float(row["value"][1]) for row in self._data("query", {"query": expr})["result"]]

    def series(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The expression over time (seconds since 1970), as Prometheus writes it: `metric` and `values` of each row."""
        rows: list[dict[str, Any]] = self._data(
            "query_range", {"query": expr, "start": str(start), "end": str(end), "step": str(step)}
        )["result"]
        return rows

    def _data(self, what: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}/api/v1/{what}", data=parameters, timeout=30, trust_env=False).json()
        if answer["status"] != "success":
            raise ValueError(f"Prometheus refuses {parameters['query']!r}: {answer.get('error')}")
        data: dict[str, Any] = answer["data"]
        return data


def installed() -> bool:
    """Whether there is one to run: Debian has it as `prometheus`."""
    return shutil.which("prometheus") is not None


@contextmanager
def watching(targets: Mapping[str, str], folder: Path, patience: float = 60.0) -> Iterator[Prometheus]:
    """Start one on a free port that scrapes `targets`: host:port by the job's name in the shipped configuration.

    `folder` takes its data and log. Raises RuntimeError where it does not start.
    """
    (config := folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(targets)))
    port = _free_port()
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (log := folder / "prometheus.log").open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "GOMAXPROCS": "1"})
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + patience
    try:
        while not _ready(url):
            if child.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Prometheus did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield Prometheus(url)
    finally:
        child.terminate()
        child.wait(30)


def configuration(targets: Mapping[str, str]) -> dict[str, Any]:
    """The shipped configuration with other targets and a quicker pace; jobs without a target are left out."""
    shipped: dict[str, Any] = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in shipped["scrape_configs"]}
    for job in jobs.values():
        job.pop("dns_sd_configs", None)
    shipped["global"] = {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE}
    shipped["rule_files"] = [str(SHIPPED / pattern) for pattern in shipped["rule_files"]]
    shipped["scrape_configs"] = [jobs[name] | {"static_configs": [{"targets": [at]}]} for name, at in targets.items()]
    return shipped


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

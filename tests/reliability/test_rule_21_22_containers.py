"""Rules 21 and 22: only the gateway is published, and every container is shut in. Read from docker-compose.yml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # brought by the dependencies, without types

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
INTERNAL = {8000, 8001, 8265, 6379, 10001, 9090, 3000, 9100, 4317, 4318}
"""vLLM, Ray's dashboard, store and client port, Prometheus, Grafana, exporters, collectors."""

pytestmark = pytest.mark.skipif(not COMPOSE.exists(), reason="docker-compose.yml is not there yet")


@pytest.fixture
def services() -> dict[str, Any]:
    """The services as written, anchors and merges resolved."""
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    found: dict[str, Any] = document["services"]
    return found


def published(service: dict[str, Any]) -> list[tuple[str, int]]:
    """(address on the host, port in the container) of every published port."""
    found = []
    for port in service.get("ports", []):
        if isinstance(port, dict):
            found.append((str(port.get("host_ip", "")), int(port["target"])))
        else:
            *host, target = str(port).rsplit(":", 1)
            found.append((host[0].rsplit(":", 1)[0] if host and ":" in host[0] else "", int(target.split("/")[0])))
    return found


def test_only_the_gateway_is_published(services: dict[str, Any]) -> None:
    open_to_all = [
        name
        for name, service in services.items()
        if any(address not in ("127.0.0.1", "::1", "[::1]") for address, _ in published(service))
    ]
    assert len(open_to_all) <= 1, f"published to everybody: {open_to_all}"
    assert any(published(service) for service in services.values()), "nothing is published at all"
    for name, service in services.items():
        ports = {port for _, port in published(service)}
        assert not ports & INTERNAL, f"{name} publishes {ports & INTERNAL}"
        assert service.get("network_mode") != "host", name


def test_every_container_is_shut_in(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert str(service.get("user", "root")).split(":")[0] not in ("root", "0"), f"{name} runs as root"
        assert service.get("read_only") is True, f"{name} may write its root"
        assert service.get("cap_drop") == ["ALL"], f"{name} keeps capabilities"
        assert not service.get("cap_add"), f"{name} adds capabilities"
        assert not service.get("privileged"), f"{name} is privileged"
        options = [str(option).replace("=", ":") for option in service.get("security_opt", [])]
        assert "no-new-privileges:true" in options or "no-new-privileges" in options, f"{name} may gain privileges"
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        assert service.get("mem_limit") or limits.get("memory"), f"{name} has no memory limit"
        assert service.get("pids_limit") or limits.get("pids"), f"{name} has no limit of processes"
        assert not any("docker.sock" in str(volume) for volume in service.get("volumes", [])), name

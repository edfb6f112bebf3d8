"""Rules 21 and 22: only the gateway is published, and every container is shut in. Read from the compose files and the
Dockerfiles as they are rendered with their defaults, without a container engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # brought by the dependencies, without types

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
ADDED = sorted((ROOT / "deploy").glob("compose.*.yml"))
INTERNAL = {8000, 8001, 8265, 6379, 10001, 9090, 3000, 9100, 4317, 4318}
"""vLLM, Ray's dashboard, store and client port, Prometheus, Grafana, exporters, collectors."""
GATEWAY = "gateway"
LOOPBACK = ("127.0.0.1", "::1", "[::1]")

pytestmark = pytest.mark.skipif(not COMPOSE.exists(), reason="docker-compose.yml is not there yet")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # untyped, as above
    """Knows the tags that compose has of its own."""


_Loader.add_constructor("!reset", lambda loader, node: None)


def rendered(path: Path) -> dict[str, Any]:
    """A compose file with each variable at its default."""
    text = re.sub(r"\$\{\w+(?::?-([^}]*))?\}", lambda found: found[1] or "", path.read_text())
    document: dict[str, Any] = yaml.load(text, _Loader)
    return document


@pytest.fixture
def services() -> dict[str, Any]:
    """The services, anchors and merges resolved."""
    found: dict[str, Any] = rendered(COMPOSE)["services"]
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


def stages(path: Path) -> dict[str, tuple[str, list[str]]]:
    """What each stage is built from, and its lines; a later stage of the same file may inherit from it."""
    found: dict[str, tuple[str, list[str]]] = {}
    lines = re.sub(r"\\\n", " ", path.read_text()).splitlines()
    for line in lines:
        words = line.split()
        if words and words[0].upper() == "FROM":
            found[words[3] if len(words) > 3 else words[1]] = (words[1], [])
        elif words and found:
            found[list(found)[-1]][1].append(line.strip())
    return found


def user_of(stage: str, found: dict[str, tuple[str, list[str]]]) -> str:
    """Who runs in a stage; empty where nobody was named."""
    base, lines = found[stage]
    named = [line.split()[1] for line in lines if line.upper().startswith("USER ")]
    return named[-1] if named else user_of(base, found) if base in found else ""


def test_only_the_gateway_is_published(services: dict[str, Any]) -> None:
    assert {name for name, service in services.items() if published(service)} == {GATEWAY}
    for name, service in services.items():
        assert not {port for _, port in published(service)} & INTERNAL, name
        assert service.get("network_mode") in (None, "none"), name


def test_nobody_but_the_gateway_has_a_way_out(services: dict[str, Any]) -> None:
    networks = rendered(COMPOSE)["networks"]
    for name, service in services.items():
        joined = service.get("networks", [] if service.get("network_mode") == "none" else ["default"])
        open_ones = [one for one in joined if not networks.get(one, {}).get("internal")]
        assert name == GATEWAY or not open_ones, f"{name} is in {open_ones}"


@pytest.mark.parametrize("path", ADDED, ids=lambda path: path.name)
def test_what_is_added_publishes_to_this_machine_alone_and_opens_nothing(path: Path) -> None:
    for name, service in rendered(path).get("services", {}).items():
        assert all(address in LOOPBACK for address, _ in published(service)), name
        weaker = {"user", "privileged", "cap_add", "cap_drop", "read_only", "security_opt", "network_mode"}
        assert not weaker & set(service), name


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


def test_no_image_of_ours_runs_as_root(services: dict[str, Any]) -> None:
    """Those that compose builds, and the default one."""
    default = list(stages(ROOT / "Dockerfile"))[-1]
    built = [service["build"] for service in services.values() if "build" in service]
    wanted = {(build.get("dockerfile", "Dockerfile"), build["target"]) for build in built} | {("Dockerfile", default)}
    for file, target in wanted:
        assert user_of(target, stages(ROOT / file)).split(":")[0] not in ("", "root", "0"), f"{file}: {target}"


def test_no_image_brings_a_secret_or_something_unchecked() -> None:
    """What is set while building stays in the image for all to read; what is added by address has no hash."""
    for file in ("Dockerfile", "deploy/vllm/Dockerfile"):
        for _, lines in stages(ROOT / file).values():
            for line in lines:
                instruction, _, rest = line.partition(" ")
                if instruction.upper() in ("ENV", "ARG"):
                    assert not re.search(r"(API_KEY|PASSWORD|SECRET|TOKEN)\s*=", rest, re.IGNORECASE), line
                assert not (instruction.upper() == "ADD" and "://" in rest), line
                assert not re.search(r"(curl|wget)[^|]*\|\s*(ba)?sh", rest), line

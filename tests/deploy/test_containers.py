"""The images and the stack, without a container engine: what compose says fits what the code and the files say.

`deploy/try-containers.sh` brings it all up where there is an engine; rules 21 and 22 are in tests/reliability.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # brought by the dependencies, without types

from rsagent import allocator, settings
from rsagent.api.keys import Keyring
from rsagent.api.settings import KeySettings
from rsagent.engines.command import Installed, launch
from rsagent.engines.settings import VLLMSettings
from rsagent.errors import NotConfigured
from rsagent.policy.files import describe, locate

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERS = DEPLOY / "containers"
DOCKERFILES = (ROOT / "Dockerfile", DEPLOY / "vllm" / "Dockerfile")
_VARIABLE = re.compile(r"\$\{(\w+)(?::?-(.*?))?\}")


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
    """YAML with compose's own tags, whose values do not matter here."""


_Loader.add_constructor("!reset", lambda loader, node: None)


def load(name: str) -> dict[str, Any]:
    """A compose file with every variable at its default."""
    text = _VARIABLE.sub(lambda found: found[2] or "", (ROOT / name).read_text())
    document: dict[str, Any] = yaml.load(text, Loader=_Loader)
    return document


COMPOSE = load("docker-compose.yml")
SERVICES: dict[str, Any] = COMPOSE["services"]
OVERRIDES = {name: load(f"deploy/{name}") for name in ("compose.cpu.yml", "compose.dashboards.yml")}


def ours(service: Mapping[str, Any]) -> dict[str, str]:
    """The settings of the service in a container's environment."""
    return {name: str(value) for name, value in service["environment"].items() if name.startswith("RSAGENT_")}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The gateway's, as it is without a GPU, in place of our own."""
    for name in [name for name in os.environ if name.startswith("RSAGENT_")]:
        monkeypatch.delenv(name)
    found = ours(SERVICES["gateway"]) | ours(OVERRIDES["compose.cpu.yml"]["services"]["gateway"])
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def test_the_gateways_environment_is_made_of_real_settings(environment: dict[str, str]) -> None:
    read = settings.load()
    assert (read.policy.kind, read.segmenter.kind) == ("openai", "ray")
    assert read.policy.openai.urls == ("http://policy:8000/v1",)
    assert read.segmenter.ray.replicas == int(environment["RSAGENT_SEGMENTER__RAY__REPLICAS"])


def test_a_setting_that_does_not_exist_would_be_found(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSAGENT_POLICY__OPENAI__FLAVOUR", "sour")
    with pytest.raises(NotConfigured, match="FLAVOUR"):
        settings.load()


def test_the_gateway_asks_the_policy_as_the_shipped_checkpoint_wants_it(environment: dict[str, str]) -> None:
    said = describe(locate("nano", None), "nano", 10**9)
    asked = settings.load().policy.openai
    assert (asked.dialect, asked.max_pixels, asked.factor) == (said.dialect, said.view.max_pixels, said.view.factor)
    assert int(SERVICES["policy"]["environment"]["POLICY_CONTEXT"]) == said.max_context


def test_the_grace_is_longer_than_the_drain(environment: dict[str, str]) -> None:
    read = settings.load().server
    grace = int(SERVICES["gateway"]["stop_grace_period"].removesuffix("s"))
    assert grace >= read.drain + read.linger + 5


@pytest.mark.parametrize(("build", "target"), [("cpu", "cpu"), ("gpu", "gpu")])
def test_vllm_gets_the_words_that_the_service_would_start_it_with(build: Any, target: str) -> None:
    engine = VLLMSettings()
    words = launch(
        engine,
        python=Path("python3"),
        found=Installed(build, False),
        directory=Path("/models/nano"),
        max_context=8192,
        port=8000,
        key="k",
        inherited={},
    ).command
    script = _words_of_the_script() | _flags(_command(target))
    for flag, value in _flags(words[3:]).items():
        expected = "0.0.0.0" if flag == "--host" else value
        assert _plain(script.get(flag)) == _plain(expected), flag


def test_vllm_on_a_cpu_keeps_its_memory_in_a_container_too() -> None:
    for name, value in allocator.ENVIRONMENT.items():
        assert f"{name}={value}" in _stage("cpu").split()


def _words_of_the_script() -> dict[str, str | None]:
    """The flags of policy.sh, variables at their defaults."""
    text = (CONTAINERS / "policy.sh").read_text().partition("api_server")[2].replace("\\\n", " ")
    text = _VARIABLE.sub(lambda found: found[2] or "", text)
    return _flags([single or plain.strip('"') for single, plain in re.findall(r"'([^']*)'|(\S+)", text)])


def _command(target: str) -> list[str]:
    found: list[str] = json.loads(re.findall(r"^CMD (\[.*\])$", _stage(target), re.M)[-1])
    return found


def _stage(target: str) -> str:
    """What vLLM's Dockerfile says of one of its stages."""
    stage = re.search(rf"^FROM \S+ AS {target}$(.*?)(?=^FROM|\Z)", DOCKERFILES[1].read_text(), re.M | re.S)
    assert stage is not None
    return stage[1]


def _flags(words: Any) -> dict[str, str | None]:
    flags: dict[str, str | None] = {}
    for word, after in zip(words, [*words[1:], "--"], strict=True):
        if word.startswith("--"):
            flags[word] = None if after.startswith("--") else after
    return flags


def _plain(value: str | None) -> Any:
    """JSON by what it says, all else as it is written."""
    return json.loads(value) if value is not None and value.startswith("{") else value


def test_keys_lie_in_volumes_of_those_alone_who_may_know_them() -> None:
    holders: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source, _, rest = str(volume).partition(":")
            if source.endswith("-key"):
                holders.setdefault(source, set()).add(name)
                assert rest.endswith(":ro") or name == "keys", f"{name} may write {source}"
    assert holders == {
        "ray-key": {"keys", "gateway", "segmenter"},
        "policy-key": {"keys", "gateway", "policy"},
        "grafana-key": {"keys", "grafana"},
    }


def test_no_secret_is_written_down() -> None:
    for path in (ROOT / "docker-compose.yml", *DEPLOY.glob("compose*.yml")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            assert not re.search(r"(PASSWORD|TOKEN|SECRET|API_KEY)\w*: *[\"']?\w{8,}", line), f"{path.name}:{number}"


def test_the_shipped_key_file_has_no_key_and_is_read() -> None:
    assert len(Keyring.load(KeySettings(file=str(CONTAINERS / "no-keys.txt")), 8)) == 0


def test_engines_and_dashboards_are_on_networks_without_a_way_out() -> None:
    internal = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    for name, service in SERVICES.items():
        networks = set(service.get("networks", []))
        if name == "gateway":
            assert networks - internal == {"front"}
        else:
            assert networks <= internal, name
            assert networks or service.get("network_mode") == "none", f"{name} would be on the default network"


def test_the_gateway_is_published_to_this_machine_unless_said_otherwise() -> None:
    assert SERVICES["gateway"]["ports"] == ["127.0.0.1:8080:8080"]
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["gateway"]
    (port,) = OVERRIDES["compose.dashboards.yml"]["services"]["grafana"]["ports"]
    assert port.startswith("127.0.0.1:")


def test_all_that_serves_has_a_health_check_and_is_started_anew() -> None:
    images = "".join(path.read_text() for path in DOCKERFILES)
    for name, service in SERVICES.items():
        assert service["restart"] in ("unless-stopped", "on-failure"), name
        assert service["init"] is True, name
        target = service.get("build", {}).get("target")
        if target is None:
            assert service["healthcheck"]["test"], name
        else:
            stage = re.search(rf"^FROM \S+ AS {target}$(.*?)(?=^FROM|\Z)", images, re.M | re.S)
            assert stage is not None, f"{name}: no stage {target}"
            assert "HEALTHCHECK" in stage[1], name


def test_dependencies_are_waited_for() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if other == "keys" else "service_healthy"
            if (name, other) == ("segmenter", "gateway"):  # the gateway is ready once replicas run there
                expected = "service_started"
            assert how["condition"] == expected, f"{name} → {other}"


def test_what_is_mounted_from_the_repository_is_there() -> None:
    files = [secret["file"] for secret in COMPOSE["secrets"].values()]
    mounts = [volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    for path in [*files, *(mount for mount in mounts if mount.startswith("."))]:
        assert (ROOT / path).exists(), path
    for mount in (mount for mount in mounts if not mount.startswith(".")):
        assert mount in COMPOSE["volumes"], mount


def test_images_are_pinned_by_a_version() -> None:
    named = [service["image"] for service in SERVICES.values()]
    for path in DOCKERFILES:
        named += re.findall(r"^ARG (?:PYTHON|VLLM)=(\S+)", path.read_text(), re.M)
    for image in named:
        assert re.search(r":v?\d+\.\d+", image), image


def test_prometheus_asks_parts_that_are_there() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        hosts = [target.partition(":")[0] for group in job.get("static_configs", []) for target in group["targets"]]
        hosts += [name for group in job.get("dns_sd_configs", []) for name in group["names"]]
        for host in hosts:
            assert host in {*SERVICES, "localhost"}, host


def test_the_gateways_image_does_without_torch() -> None:
    """What models.txt keeps out of it is not imported by the service in front of both engines."""
    kept_out = [line for line in (CONTAINERS / "models.txt").read_text().split("\n") if line and line[0] != "#"]
    blocked = sorted(name.replace("-", "_") for name in kept_out)
    script = (
        "import sys\n"
        f"blocked = {blocked!r}\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in blocked: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import rsagent.cli.app, rsagent.cli.serve, rsagent.api.app, rsagent.service, rsagent.policy.openai\n"
        "import rsagent.engines.router, rsagent.segmenter.serve.cluster, rsagent.segmenter.serve.client\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("awk") is None, reason="awk is not here")
def test_the_two_parts_of_the_lock_are_the_lock() -> None:
    lock = ROOT / "requirements-engines.lock"
    parts = {part: _requirements(_part(part, lock)) for part in ("models", "rest")}
    whole = _requirements(lock.read_text())
    assert parts["models"] | parts["rest"] == whole
    assert not parts["models"].keys() & parts["rest"].keys()
    assert {"torch", "transformers"} <= parts["models"].keys()
    assert {"ray", "fastapi"} <= parts["rest"].keys()


def _part(part: str, lock: Path) -> str:
    words = ["awk", "-v", f"part={part}", "-f", str(CONTAINERS / "part.awk"), str(CONTAINERS / "models.txt"), str(lock)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def _requirements(text: str) -> dict[str, frozenset[str]]:
    """Hashes by package."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in text.splitlines():
        if re.match(r"[a-z0-9]", line):
            name = re.split(r"[=\[ ]", line)[0]
            found[name] = set()
        elif "--hash=" in line:
            found[name].add(line.strip(" \\"))
    return {name: frozenset(hashes) for name, hashes in found.items()}


@pytest.mark.parametrize("path", sorted([*DEPLOY.rglob("*.sh"), ROOT / ".ci" / "run"]), ids=lambda path: path.name)
def test_scripts_are_sound(path: Path) -> None:
    interpreter = "bash" if "bash" in path.read_text().partition("\n")[0] else "sh"
    assert os.access(path, os.X_OK), "not executable"
    subprocess.run([interpreter, "-n", str(path)], check=True)
    _lint("shellcheck", path)


@pytest.mark.parametrize("path", DOCKERFILES, ids=["Dockerfile", "vllm/Dockerfile"])
def test_dockerfiles_are_sound(path: Path) -> None:
    text = path.read_text()
    assert "# syntax=" not in text, "would be fetched"
    for stage in re.findall(r"^USER (\S+)$", text, re.M):
        assert stage == "10001:10001"
    _lint("hadolint", path)


def _lint(tool: str, path: Path) -> None:
    found = shutil.which(tool, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip(f"{tool} is not here")
    done = subprocess.run([found, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

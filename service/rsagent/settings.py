"""The one settings root: read once, frozen, handed down. The environment is read here and nowhere else.

Every value has a default, so nothing needs to be set. In order of precedence:

    1. what the code passes                `Settings(server={"port": 9000})`
    2. `RSAGENT_…` environment variables   `RSAGENT_SERVER__PORT=9000`, nested by `__`
    3. a TOML file                         the one RSAGENT_CONFIG names, else ./rsagent.toml
    4. the defaults below

Profiles (`RSAGENT_PROFILE`): `embedded` is the default, both engines in this process; `engines` starts vLLM and a Ray
Serve pool on this machine; `cluster` finds both by their addresses. A policy behind a URL is
`RSAGENT_POLICY__OPENAI__BASE_URL=http://…/v1`; that alone switches `policy.kind`, in every profile.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from rsagent.api.settings import FetchSettings, IdempotencySettings, KeySettings
from rsagent.engines.settings import VLLMSettings
from rsagent.errors import NotConfigured
from rsagent.observing.settings import LogSettings, TracingSettings
from rsagent.policy.settings import LocalPolicySettings, OpenAIPolicySettings
from rsagent.resilience.settings import ResilienceSettings
from rsagent.segmenter.serve.settings import RaySettings

PREFIX = "RSAGENT_"
NESTED = "__"
PROFILE = "rsagent_profile"
CONFIG_VARIABLE = "RSAGENT_CONFIG"
MIB = 1024 * 1024
DEFAULT_CONFIG = Path("rsagent.toml")

MAX_DECODABLE_PIXELS = 89_478_485
"""Pillow's own limit, above which it treats a picture as a decompression bomb."""


class _Component(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(_Component):
    """Where and how the API listens."""

    host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 for all")
    port: int = Field(8080, ge=0, le=65535, description="0 takes a free one")
    shared: bool = Field(False, description="several services may listen on this port, and the system divides requests")
    keep_alive: float = Field(15.0, gt=0, description="seconds between comment lines on a silent event stream")
    send_timeout: float = Field(30.0, gt=0, description="seconds after which a reader that takes nothing is dropped")
    header_timeout: float = Field(10.0, gt=0, description="seconds in which a request's headers must have arrived")
    drain: float = Field(20.0, ge=0, description="seconds that running requests get after SIGTERM")
    linger: float = Field(0.0, ge=0, description="least seconds after SIGTERM in which /readyz still answers, with 503")


class ImageLimits(_Component):
    """What a picture may be."""

    max_bytes: int = Field(20_000_000, ge=1, description="largest file, in bytes")
    max_pixels: int = Field(40_000_000, ge=1, le=MAX_DECODABLE_PIXELS, description="largest width × height")
    max_side: int = Field(16_384, ge=1, description="longest width or height")
    max_aspect: float = Field(100.0, ge=1, description="longest side over shortest")


class BatchLimits(_Component):
    """What a batch may be. Its requests pass the same gate as all others, a few at a time."""

    items: int = Field(256, ge=1, description="requests in a batch")
    max_bytes: int = Field(64 * MIB, ge=1, description="largest batch, in bytes")
    at_once: int = Field(2, ge=1, description="batches served at once; beyond it: 429")
    share: int = Field(4, ge=1, description="requests of a batch that run or wait at the gate at once")
    upload_timeout: float = Field(120.0, gt=0, description="seconds in which a batch must have arrived")
    patience: float = Field(60.0, ge=0, description="seconds that a batch's request tries to get through a full gate")


class Limits(_Component):
    """What a request may be, and how many are served at once."""

    image: ImageLimits = ImageLimits()
    batch: BatchLimits = BatchLimits()
    query_length: int = Field(1000, ge=1, description="longest sentence, in characters")
    deadline: float = Field(60.0, gt=0, description="seconds a request gets unless it asks for another time")
    max_deadline: float = Field(300.0, gt=0, description="the longest time a request may ask for, in seconds")
    upload_timeout: float = Field(30.0, gt=0, description="seconds in which a request's body must have arrived")
    turns: int = Field(8, ge=1, description="turns an episode gets unless the request asks for another number")
    max_turns: int = Field(16, ge=1, description="the most turns a request may ask for")
    inflight: int = Field(8, ge=1, description="requests served at once")
    queue: int = Field(16, ge=0, description="requests that may wait for their turn; beyond it: 429")
    queue_timeout: float = Field(20.0, gt=0, description="seconds a request may wait for its turn")
    workers: int = Field(
        default_factory=lambda: min(8, os.cpu_count() or 1), ge=1, description="threads for image work"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for low, high in (("deadline", "max_deadline"), ("turns", "max_turns")):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} must not be above {high}")
        return self


class PolicySettings(_Component):
    """Which policy plays: in this process, behind an OpenAI-compatible server, or in a vLLM that we start."""

    kind: Literal["local", "openai", "vllm"] = Field(
        "local", description="'openai' by itself once openai.base_url is set; 'vllm' in the profile 'engines'"
    )
    local: LocalPolicySettings = LocalPolicySettings()
    openai: OpenAIPolicySettings = OpenAIPolicySettings()
    vllm: VLLMSettings = VLLMSettings()

    @model_validator(mode="before")
    @classmethod
    def _kind_by_url(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "kind" not in values and _names_a_server(values.get("openai")):
            return {**values, "kind": "openai"}
        return values


def _names_a_server(openai: Any) -> bool:
    if isinstance(openai, OpenAIPolicySettings):
        return "base_url" in openai.model_fields_set
    return isinstance(openai, Mapping) and "base_url" in openai


class SegmenterSettings(_Component):
    """Which SAM segments, and how much of the machine it may take. With Ray, all but `ray` is for each replica."""

    kind: Literal["local", "ray"] = Field("local", description="'ray' by itself once ray.address is set")
    ray: RaySettings = RaySettings()
    variant: str = Field("nano", description="'nano' (in the package), 'vit_b', 'vit_l' or 'vit_h'")
    path: str | None = Field(None, description="weights of another variant than nano: a file or an https address")
    sha256: str | None = Field(None, description="the hash they must have, if not the published one")
    device: str = Field("auto", description="'auto', 'cpu', 'cuda', 'cuda:1', …")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="what its transformers compute in")
    workers: int = Field(2, ge=1, description="threads that run the model, each on a core of its own")
    cache_bytes: int = Field(256 * MIB, ge=0, description="image embeddings kept, in bytes")
    max_batch: int | None = Field(None, ge=1, description="prompts decoded at once; by itself 4 on a CPU, 16 on a GPU")
    queue: int = Field(64, ge=1, description="prompts that may wait; beyond it: Overloaded")

    @model_validator(mode="before")
    @classmethod
    def _kind_by_address(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and "kind" not in values and _names_a_cluster(values.get("ray")):
            return {**values, "kind": "ray"}
        return values


def _names_a_cluster(ray: Any) -> bool:
    if isinstance(ray, RaySettings):
        return ray.address is not None
    return isinstance(ray, Mapping) and ray.get("address") is not None


Profile = Literal["embedded", "engines", "cluster"]

_KINDS: dict[Profile, dict[str, str]] = {
    "embedded": {},
    "engines": {"policy": "vllm", "segmenter": "ray"},
    "cluster": {"policy": "openai", "segmenter": "ray"},
}
"""What a profile makes of a component of which nothing else says its kind."""


class Settings(BaseSettings):
    """All of it. `load()` is the way to read it from the environment with errors that name the variable."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        frozen=True,
        extra="forbid",
    )

    profile: Profile = Field(
        "embedded",
        description="'engines' starts vLLM and Ray Serve unless given their addresses; 'cluster' starts nothing",
    )
    server: ServerSettings = ServerSettings()
    limits: Limits = Limits()
    policy: PolicySettings = PolicySettings()
    segmenter: SegmenterSettings = SegmenterSettings()
    keys: KeySettings = KeySettings()
    idempotency: IdempotencySettings = IdempotencySettings()
    fetch: FetchSettings = FetchSettings()
    resilience: ResilienceSettings = ResilienceSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()

    @model_validator(mode="before")
    @classmethod
    def _kinds_by_profile(cls, values: Any) -> Any:
        kinds = _KINDS.get(values.get("profile", "embedded"), {}) if isinstance(values, Mapping) else {}
        chosen = {name: _with_kind(values.get(name, {}), kind) for name, kind in kinds.items()}
        if chosen and values["profile"] == "cluster":  # which starts nothing: without an address, it is this machine's
            chosen["segmenter"] = _with_address(chosen["segmenter"])
        return {**values, **chosen} if chosen else values

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls), TomlConfigSettingsSource(settings_cls, _config_file())


def _with_kind(component: Any, kind: str) -> Any:
    if not isinstance(component, Mapping) or "kind" in component:
        return component
    addressed = _names_a_server(component.get("openai")) or _names_a_cluster(component.get("ray"))
    return component if addressed else {**component, "kind": kind}


def _with_address(segmenter: Any) -> Any:
    ray = segmenter.get("ray", {}) if isinstance(segmenter, Mapping) else None
    if not isinstance(ray, Mapping):
        return segmenter
    return {**segmenter, "ray": {"address": "auto", **ray}}


class _Environment(EnvSettingsSource):
    """Nested variables and the profile only: Kubernetes gives every pod beside a service called `rsagent` an
    `RSAGENT_PORT` and the like, which are none of ours."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        known = super()._load_env_vars().items()
        return {name: value for name, value in known if NESTED in name or name == PROFILE}


def load(**overrides: Any) -> Settings:
    """The settings, `overrides` first: `load(server={"port": 0})`.

    Raises NotConfigured, which names the variable (or the file) that is wrong and what it may be.
    """
    _refuse_unknown_variables()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise NotConfigured("; ".join(_describe(item) for item in error.errors())) from error
    except (SettingsError, tomllib.TOMLDecodeError, OSError) as error:
        raise NotConfigured(f"the settings cannot be read: {error}") from error


def _config_file() -> Path | None:
    named = os.environ.get(CONFIG_VARIABLE)
    if named is None:
        return DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
    if not Path(named).is_file():
        raise NotConfigured(f"{CONFIG_VARIABLE} names {named!r}, which is no file")
    return Path(named)


def _refuse_unknown_variables() -> None:
    """A misspelt component would be overlooked silently; a misspelt field within one is the model's to refuse."""
    known = list(Settings.model_fields)
    for variable in os.environ:
        component, nested, _ = variable.removeprefix(PREFIX).lower().partition(NESTED)
        if variable.startswith(PREFIX) and nested and component not in known:
            near = difflib.get_close_matches(component, known, n=1)
            advice = f"did you mean {PREFIX}{near[0].upper()}{NESTED}…?" if near else f"known: {', '.join(known)}"
            raise NotConfigured(f"{variable} sets nothing; {advice}")


def _describe(item: Mapping[str, Any]) -> str:
    path = [str(part) for part in item["loc"]]
    if not path:
        return str(item["msg"])
    said = str(item["msg"])
    said = _unheard_of(path) if item["type"] == "extra_forbidden" else f"{said} (given: {_brief(item['input'])})"
    return f"{PREFIX}{NESTED.join(path).upper()} ({'.'.join(path)} in TOML): {said}"


def _unheard_of(path: Sequence[str]) -> str:
    """What to say of a field that its component has not: which one it has."""
    model: type[BaseModel] = Settings
    for part in path[:-1]:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return "no such setting"
        model = inner
    known = list(model.model_fields)
    near = difflib.get_close_matches(path[-1], known, n=1)
    return f"no such setting; {f'did you mean {near[0]}?' if near else 'known: ' + ', '.join(known)}"


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"

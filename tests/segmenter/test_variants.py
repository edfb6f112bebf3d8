"""Weights by name: found, fetched, checked, and never run."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.segmenter.tiny import TINY, TINY_PLAIN, picture, tiny_model

from rsagent.errors import CheckpointError, NotConfigured
from rsagent.segmenter import variants
from rsagent.segmenter.core import SamCore
from rsagent.segmenter.protocol import Prompt
from rsagent.segmenter.variants import Variant, cache_folder, fetch, load

ADDRESS = "https://weights.example/sam/tiny.safetensors"
Answer = Callable[[httpx.Request], httpx.Response]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def saved(tensors: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(tensors, out, **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def weights() -> bytes:
    return safetensors.torch.save(tiny_model().state_dict())


@pytest.fixture(autouse=True)
def tiny(weights: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(variants.VARIANTS, "tiny", Variant("tiny", TINY, sha256(weights), "tiny.safetensors"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(variants, "PACKAGED", tmp_path / "package")


def write(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def is_tiny(core: SamCore) -> bool:
    """Whether it answers as the model whose weights were saved."""
    found, wanted = (
        one.decode([(one.encode(picture(1)), Prompt(box=(5, 5, 40, 40)))])[0].best.logits
        for one in (core, SamCore(tiny_model()))
    )
    return bool(np.allclose(found, wanted, atol=1e-5))


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(NotConfigured, match=r"'vit_x'.*nano.*vit_b.*vit_h"):
        load("vit_x")


@pytest.mark.parametrize("device", ["abacus", "meta:x", "cuda:99"])
def test_a_device_that_is_not_there_is_told(device: str) -> None:
    with pytest.raises(NotConfigured, match="RSAGENT_SEGMENTER__DEVICE"):
        load("nano", device=device)


def test_a_variant_without_a_source_says_which_setting_and_file() -> None:
    with pytest.raises(NotConfigured, match=r"RSAGENT_SEGMENTER__PATH.*sam_vit_b_01ec64\.pth"):
        load("vit_b")


def test_the_pinned_file_loads(tmp_path: Path, weights: bytes) -> None:
    assert is_tiny(load("tiny", write(tmp_path / "tiny.safetensors", weights)))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_file_loads_by_a_hash_of_ones_own(tmp_path: Path, zipped: bool) -> None:
    content = saved(tiny_model().state_dict(), _use_new_zipfile_serialization=zipped)
    assert is_tiny(load("tiny", write(tmp_path / "tiny.pth", content), sha256(content).upper()))


def test_the_package_s_own_needs_no_source(tmp_path: Path, weights: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(variants.VARIANTS, "own", Variant("own", TINY))
    with pytest.raises(CheckpointError, match="no weights"):
        load("own")
    write(tmp_path / "package" / "own.safetensors", weights)
    assert is_tiny(load("own"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weights at .*gone\.pth"):
        load("tiny", str(tmp_path / "gone.pth"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights"):
        load("tiny", str(tmp_path))


def test_another_file_than_the_pinned_one_is_refused_unread(tmp_path: Path, weights: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"sha256.*damaged or another file.*RSAGENT_SEGMENTER__SHA256"):
        load("tiny", write(tmp_path / "tiny.safetensors", weights + b" "))
    with pytest.raises(CheckpointError, match="sha256"):
        load("tiny", write(tmp_path / "tiny.safetensors", weights), "0" * 64)


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny.pth"])
@pytest.mark.parametrize("left", [0, 1, 100, 20_000])
def test_a_truncated_file_is_refused(tmp_path: Path, weights: bytes, name: str, left: int) -> None:
    whole = weights if name.endswith("safetensors") else saved(tiny_model().state_dict())
    with pytest.raises(CheckpointError, match="no file of weights"):
        load("tiny", write(tmp_path / name, whole[:left]), sha256(whole[:left]))


DAMAGE = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(DAMAGE, st.booleans(), st.sampled_from([".pth", ".safetensors"]))
def test_a_damaged_file_is_refused_in_our_words(
    tmp_path: Path, damage: list[tuple[int, int]], zipped: bool, suffix: str
) -> None:
    table = {"a": torch.ones(3, 3)}
    whole = bytearray(
        saved(table, _use_new_zipfile_serialization=zipped) if suffix == ".pth" else safetensors.torch.save(table)
    )
    for place, value in damage:
        whole[place % len(whole)] = value
    with pytest.raises(CheckpointError):
        load("tiny", write(tmp_path / f"damaged{suffix}", bytes(whole)), sha256(bytes(whole)))


@pytest.mark.parametrize("content", [[1, 2], {"a": "b"}, {1: torch.ones(1)}, torch.ones(2), None])
def test_what_is_no_table_of_weights_is_refused(tmp_path: Path, content: object) -> None:
    whole = saved(content)
    with pytest.raises(CheckpointError, match=r"odd\.pth (holds no table of|does not hold the) weights"):
        load("tiny", write(tmp_path / "odd.pth", whole), sha256(whole))


def test_weights_of_other_shapes_are_refused_with_what_differs(tmp_path: Path) -> None:
    other = safetensors.torch.save(tiny_model(architecture=TINY_PLAIN).state_dict())
    with pytest.raises(CheckpointError, match=r"does not hold the weights of tiny: .*image_encoder") as refused:
        load("tiny", write(tmp_path / "other.safetensors", other), sha256(other))
    assert len(str(refused.value)) < 400


class Trap:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize("name", ["trap.pth", "trap.pt", "trap.safetensors", "trap"])
@pytest.mark.parametrize("write_down", [pickle.dumps, saved], ids=["pickle", "torch"])
def test_code_in_a_file_is_refused_and_not_run(
    tmp_path: Path, name: str, write_down: Callable[[object], bytes]
) -> None:
    sprung = tmp_path / "sprung"
    content = write_down({"state": Trap(sprung)})
    with pytest.raises(CheckpointError, match="no file of weights"):
        load("tiny", write(tmp_path / name, content), sha256(content))
    assert not sprung.exists()
    assert pickle.loads(pickle.dumps(Trap(sprung))) is None, "the trap itself works"
    assert sprung.exists()


class Web:
    """What answers instead of the network; it counts the requests."""

    def __init__(self, answer: Answer) -> None:
        self.requests = 0
        self._answer = answer
        self._client = httpx.Client(transport=httpx.MockTransport(self._count))

    def _count(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        return self._answer(request)

    def stream(self, method: str, url: str, **options: Any) -> Any:
        return self._client.stream(method, url, **options)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], Web]]:
    opened: list[Web] = []

    def answering(answer: Answer) -> Web:
        opened.append(Web(answer))
        monkeypatch.setattr(httpx, "stream", opened[-1].stream)
        return opened[-1]

    yield answering
    for one in opened:
        one.close()


def left_in_cache() -> list[str]:
    return sorted(path.name for path in cache_folder().rglob("*") if path.is_file())


def test_weights_are_fetched_once(web: Callable[[Answer], Web], weights: bytes) -> None:
    served = web(lambda request: httpx.Response(200, content=weights))
    assert is_tiny(load("tiny", ADDRESS))
    assert is_tiny(load("tiny", ADDRESS))
    assert served.requests == 1
    assert left_in_cache() == ["tiny.safetensors"]


def test_a_redirect_is_followed_and_a_query_is_no_part_of_the_name(
    web: Callable[[Answer], Web], weights: bytes
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "weights.example":
            return httpx.Response(302, headers={"location": "https://mirror.example/blob?id=7"})
        return httpx.Response(200, content=weights)

    served = web(answer)
    assert is_tiny(load("tiny", f"{ADDRESS}?download=true"))
    assert (served.requests, left_in_cache()) == (2, ["tiny.safetensors"])


def test_a_fetched_file_that_was_damaged_since_is_fetched_again(web: Callable[[Answer], Web], weights: bytes) -> None:
    served = web(lambda request: httpx.Response(200, content=weights))
    kept = fetch(ADDRESS, sha256(weights))
    kept.write_bytes(weights[:-9])
    assert is_tiny(load("tiny", ADDRESS))
    assert (served.requests, kept.read_bytes() == weights) == (2, True)


def test_other_weights_than_the_pinned_ones_are_not_kept(web: Callable[[Answer], Web], weights: bytes) -> None:
    web(lambda request: httpx.Response(200, content=weights[:-1]))
    with pytest.raises(CheckpointError, match="sha256"):
        load("tiny", ADDRESS)
    assert left_in_cache() == []


@pytest.mark.parametrize("status", [404, 500])
def test_an_address_without_weights_says_what_to_do(web: Callable[[Answer], Web], status: int) -> None:
    web(lambda request: httpx.Response(status))
    with pytest.raises(CheckpointError, match=rf"{status}.*RSAGENT_SEGMENTER__PATH"):
        load("tiny", ADDRESS)
    assert left_in_cache() == []


def test_a_broken_connection_leaves_nothing(web: Callable[[Answer], Web], weights: bytes) -> None:
    def some_then_none() -> Iterator[bytes]:
        yield weights[:1000]
        raise httpx.ReadError("connection reset")

    web(lambda request: httpx.Response(200, content=some_then_none()))
    with pytest.raises(CheckpointError, match=r"could not be fetched.*connection reset"):
        load("tiny", ADDRESS)
    assert left_in_cache() == []


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(CheckpointError, match="could not be fetched"):
        load("tiny", "https://[not-a-host/tiny.pth")


def test_a_cache_that_cannot_be_written_is_told(
    web: Callable[[Answer], Web], weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = web(lambda request: httpx.Response(200, content=weights))
    monkeypatch.setenv("XDG_CACHE_HOME", write(tmp_path / "a file", b""))
    with pytest.raises(CheckpointError, match="could not be fetched"):
        load("tiny", ADDRESS)
    assert served.requests == 0


@pytest.mark.parametrize("source", ["http://weights.example/tiny.pth", "ftp://weights.example/tiny.pth"])
def test_an_address_that_is_not_https_is_refused(source: str) -> None:
    with pytest.raises(NotConfigured, match="https"):
        load("tiny", source)


def test_an_address_without_a_hash_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(variants.VARIANTS, "own", Variant("own", TINY))
    with pytest.raises(NotConfigured, match="RSAGENT_SEGMENTER__SHA256"):
        load("own", ADDRESS)


@pytest.mark.parametrize("home", [None, ""])
def test_without_a_cache_folder_of_ones_own_it_is_in_the_home(
    home: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if home is None:
        monkeypatch.delenv("XDG_CACHE_HOME")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", home)
    assert cache_folder() == tmp_path / ".cache" / "rsagent" / "weights"

"""The SAMs there are: a name, sizes, and the sha256 that its weights must have.

`nano` is in the package, but for its backbone: that was trained by others on ImageNet, is frozen, and is read out of
the package that carries it (`lite`). All else of it was trained by us on collages. The others are read from a file or
fetched once from an address, and checked against the published hash or the one that was set; nothing in a file is
ever run: safetensors, or a torch file read with `weights_only`.
"""

from __future__ import annotations

import hashlib
import os
import textwrap
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx
import safetensors.torch
import torch

from rsagent.errors import CheckpointError, NotConfigured
from rsagent.segmenter import lite
from rsagent.segmenter.architecture import NANO, Architecture, Sam, build
from rsagent.segmenter.core import SamCore

PACKAGED = Path(__file__).parent / "weights"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Variant:
    """A SAM by name. `sha256` pins its published weights; None where only the package's own file counts."""

    name: str
    architecture: Architecture
    sha256: str | None = None
    published: str = ""


def _vit(width: int, depth: int, heads: int, global_blocks: tuple[int, ...]) -> Architecture:
    return Architecture(1024, 16, width, depth, heads, global_blocks, window=14)


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("nano", NANO),
        Variant(
            "vit_b",
            _vit(768, 12, 12, (2, 5, 8, 11)),
            "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            "sam_vit_b_01ec64.pth",
        ),
        Variant(
            "vit_l",
            _vit(1024, 24, 16, (5, 11, 17, 23)),
            "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            "sam_vit_l_0b3195.pth",
        ),
        Variant(
            "vit_h",
            _vit(1280, 32, 16, (7, 15, 23, 31)),
            "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            "sam_vit_h_4b8939.pth",
        ),
    )
}


def load(
    name: str, source: str | None = None, sha256: str | None = None, device: str = "cpu", *, half: bool = False
) -> SamCore:
    """The variant `name` with its weights, ready to use on `device` ('auto' is a GPU where there is one).

    `source` is a file or an https address (fetched once, then read from the cache); `sha256` replaces the published
    hash, for weights of one's own. Raises NotConfigured where the name or the device is unknown or a source is
    missing, and CheckpointError where the file is absent, altered, or of another shape.
    """
    variant = VARIANTS.get(name)
    if variant is None:
        raise NotConfigured(f"unknown segmenter {name!r}; known ones: {', '.join(VARIANTS)}")
    place = _device(device)
    if variant.sha256 is None and source is None:
        return SamCore(_with_weights(variant, PACKAGED / f"{name}.safetensors"), place, half=half)
    if source is None:
        raise NotConfigured(
            f"{name} needs weights: set RSAGENT_SEGMENTER__PATH to {variant.published} or to an https address of it"
        )
    return SamCore(_with_weights(variant, _file(source, sha256 or variant.sha256)), place, half=half)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for a GPU
        raise NotConfigured(f"no device {name!r}: set RSAGENT_SEGMENTER__DEVICE to auto, cpu or cuda") from error


def _file(source: str, sha256: str | None) -> Path:
    pinned = sha256 and sha256.lower()
    if source.startswith("https://"):
        return fetch(source, pinned)
    if "://" in source:
        raise NotConfigured("weights come from a file or an https address: change RSAGENT_SEGMENTER__PATH")
    _verify(Path(source), pinned)
    return Path(source)


def fetch(address: str, sha256: str | None) -> Path:
    """The file at an https address, from the cache if it was fetched before. It is kept only if its hash is right.

    Raises NotConfigured without a hash, CheckpointError where the file cannot be had or is not what was pinned.
    """
    if sha256 is None:
        raise NotConfigured("weights from an address need RSAGENT_SEGMENTER__SHA256, the hash they must have")
    try:
        kept = cache_folder() / sha256 / (PurePosixPath(httpx.URL(address).path).name or "weights")
        if not kept.is_file() or _sha256(kept) != sha256:  # one that was damaged since is fetched again
            _fetch(address, sha256, kept)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise CheckpointError(
            f"the weights could not be fetched ({error}): set RSAGENT_SEGMENTER__PATH to a file fetched by hand"
        ) from error
    return kept


def _fetch(address: str, sha256: str, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as out, httpx.stream("GET", address, follow_redirects=True, timeout=60) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes(CHUNK):
                out.write(chunk)
        _verify(partial, sha256)
        partial.replace(kept)
    finally:
        partial.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where fetched weights stay: `rsagent/weights` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rsagent" / "weights"


def _verify(path: Path, sha256: str | None) -> None:
    if not path.is_file():
        raise CheckpointError(_nothing_at(path))
    if sha256 is None:
        return
    found = _sha256(path)
    if found != sha256:
        raise CheckpointError(
            f"{path.name} has sha256 {found[:12]}…, not {sha256[:12]}…: it is damaged or another file. "
            "For weights of your own set RSAGENT_SEGMENTER__SHA256 to their hash"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_weights(variant: Variant, path: Path) -> Sam:
    weights, model = _read(path), build(variant.architecture)
    if variant.architecture.detailed:
        weights = lite.completed(weights)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{path.name} does not hold the weights of {variant.name}: {_brief(error)}") from error
    return model


def _nothing_at(path: Path) -> str:
    return (
        f"there are no weights at {path}: RSAGENT_SEGMENTER__PATH takes the file that segment-anything's README links "
        "to, or its https address"
    )


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Tensors only: neither format may carry code (`weights_only` refuses a pickle that calls anything else)."""
    if not path.is_file():
        raise CheckpointError(_nothing_at(path))
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles fail in a dozen ways, KeyError and AssertionError among them
        raise CheckpointError(f"{path.name} is no file of weights: {_brief(error)}") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise CheckpointError(f"{path.name} holds no table of weights")
    return found


def _brief(error: Exception) -> str:
    return textwrap.shorten(str(error), 200, placeholder=" …") or type(error).__name__

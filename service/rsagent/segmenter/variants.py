"""The SAMs there are: a name, sizes, and the sha256 that its weights must have.

`nano` is in the package. The others are read from a file or fetched once from an address; what is loaded is always
checked against a hash, and nothing in it is ever run: safetensors, or a torch file read with `weights_only`.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx
import safetensors.torch
import torch
from rich.progress import wrap_file
from safetensors import SafetensorError

from rsagent.errors import CheckpointError, NotConfigured
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


def load(name: str, source: str | None = None, sha256: str | None = None) -> SamCore:
    """The variant `name` with its weights, ready to use.

    `source` is a file or an https address (fetched once, then read from the cache); `sha256` replaces the published
    hash, for weights of one's own. Raises NotConfigured where the name is unknown or a source is missing, and
    CheckpointError where the file is absent, altered, or of another shape.
    """
    variant = VARIANTS.get(name)
    if variant is None:
        raise NotConfigured(f"unknown segmenter {name!r}; known ones: {', '.join(VARIANTS)}")
    if variant.sha256 is None and source is None:
        return SamCore(_with_weights(variant, PACKAGED / f"{name}.safetensors"))
    if source is None:
        raise NotConfigured(
            f"{name} needs weights: set RSAGENT_SEGMENTER__PATH to {variant.published} or to an https address of it"
        )
    pinned = sha256 or variant.sha256
    path = fetch(source, pinned) if source.startswith("https://") else Path(source)
    _verify(path, pinned)
    return SamCore(_with_weights(variant, path))


def fetch(address: str, sha256: str | None) -> Path:
    """The file at an https address, from the cache if it was fetched before. It is kept only if its hash is right.

    Raises CheckpointError where it cannot be had or is not what was pinned.
    """
    if sha256 is None:
        raise NotConfigured("weights from an address need RSAGENT_SEGMENTER__SHA256, the hash they must have")
    kept = cache_folder() / sha256 / address.rsplit("/", 1)[-1]
    if kept.is_file():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(f".{os.getpid()}.part")
    try:
        with partial.open("wb") as out, httpx.stream("GET", address, follow_redirects=True, timeout=60) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes(CHUNK):
                out.write(chunk)
        _verify(partial, sha256)
        partial.replace(kept)
    except httpx.HTTPError as error:
        raise CheckpointError(
            f"the weights could not be fetched ({error}): fetch them by hand and give the file"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return kept


def cache_folder() -> Path:
    """Where fetched weights stay: `rsagent/weights` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rsagent" / "weights"


def _verify(path: Path, sha256: str | None) -> None:
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}")
    if sha256 is None:
        return
    found = _sha256(path)
    if found != sha256:
        raise CheckpointError(
            f"{path.name} has sha256 {found[:12]}…, not {sha256[:12]}…: it is damaged or another file. "
            "For weights of your own set RSAGENT_SEGMENTER__SHA256 to their hash"
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with wrap_file(path.open("rb"), path.stat().st_size, description=f"checking {path.name}", transient=True) as file:
        for chunk in _chunks(file):
            digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _with_weights(variant: Variant, path: Path) -> Sam:
    model = build(variant.architecture)
    try:
        model.load_state_dict(_read(path))
    except RuntimeError as error:
        raise CheckpointError(
            f"{path.name} does not hold the weights of {variant.name}: {_first_line(error)}"
        ) from error
    return model


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Tensors only: neither format may carry code (`weights_only` refuses a pickle that calls anything else)."""
    if not path.is_file():
        raise CheckpointError(f"there are no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path.name} is no file of weights: {_first_line(error)}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path.name} holds no table of weights")
    return found


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

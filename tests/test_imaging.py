from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from rsagent import imaging
from rsagent.errors import BadImage, BadRequest, TooLarge, UnsupportedFormat
from rsagent.settings import ImageLimits

BOUNDS = ImageLimits()

# as imaging itself asks, and as pytest's own filters would undo
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def gradient(height: int = 20, width: int = 30) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 8, y * 12, (x + y) * 4], axis=-1).astype(np.uint8)


def picture(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(gradient()).convert(mode)


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def oriented(image: Image.Image, orientation: int) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif}


SEEDS = [
    *(encoded(picture(), format_) for format_ in ("PNG", "JPEG", "WEBP")),
    *(encoded(picture(mode), "PNG") for mode in ("P", "L", "1", "LA", "RGBA")),
    encoded(picture(), "PNG", save_all=True, append_images=[picture().rotate(90)]),
    encoded(picture(), "WEBP", save_all=True, append_images=[picture().rotate(90)]),
    *(encoded(picture(), format_, **oriented(picture(), 6)) for format_ in ("PNG", "JPEG", "WEBP")),
]


@pytest.mark.parametrize(("format_", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_lossless_formats_come_back_as_they_were(format_: str, options: dict[str, Any]) -> None:
    decoded = imaging.decode(encoded(picture(), format_, **options), BOUNDS)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, gradient())


def test_our_own_encoders_are_read_back() -> None:
    assert np.array_equal(imaging.decode(imaging.encode_png(gradient()), BOUNDS), gradient())
    jpeg = imaging.decode(imaging.encode_jpeg(gradient(), quality=95), BOUNDS)
    assert np.abs(jpeg.astype(int) - gradient()).mean() < 4


MODES = [*(("PNG", mode) for mode in ("L", "P", "1", "LA", "RGBA")), *(("JPEG", mode) for mode in ("L", "CMYK"))]


@pytest.mark.parametrize(("format_", "mode"), MODES)
def test_every_mode_becomes_rgb(format_: str, mode: str) -> None:
    decoded = imaging.decode(encoded(picture(mode), format_), BOUNDS)
    assert decoded.shape == (20, 30, 3)
    assert np.abs(decoded.astype(int) - np.asarray(picture(mode).convert("RGB"))).mean() < 4


def test_transparency_is_laid_over_white() -> None:
    clear = np.zeros((4, 4, 4), dtype=np.uint8)
    clear[:2, :, 3] = 255
    decoded = imaging.decode(encoded(Image.fromarray(clear), "PNG"), BOUNDS)
    assert (decoded[:2] == 0).all()
    assert (decoded[2:] == 255).all()


@pytest.mark.parametrize("transparency", [0, bytes([0, 255])])
def test_a_transparent_palette_entry_is_laid_over_white(transparency: int | bytes) -> None:
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([10, 20, 30, 40, 50, 60])
    indexed.putpixel((1, 0), 1)
    decoded = imaging.decode(encoded(indexed, "PNG", transparency=transparency), BOUNDS)
    assert decoded.tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_16_bit_grey_keeps_its_range() -> None:
    deep = Image.fromarray(np.array([[0, 0x1234, 0x80FF, 0xFFFF]], dtype=np.uint16))
    assert imaging.decode(encoded(deep, "PNG"), BOUNDS)[0, :, 0].tolist() == [0, 0x12, 0x80, 0xFF]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_exif_orientation_is_applied(format_: str, orientation: int) -> None:
    upright = np.zeros((24, 40, 3), dtype=np.uint8)
    upright[:8, :8] = 255
    stored = Image.fromarray(upright).transpose(UNDO[orientation]) if orientation > 1 else Image.fromarray(upright)
    decoded = imaging.decode(encoded(stored, format_, **oriented(stored, orientation)), BOUNDS)
    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright).mean() < 6


UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    decoded = imaging.decode(encoded(picture(), "PNG", **oriented(picture(), orientation)), BOUNDS)
    assert np.array_equal(decoded, gradient())


def test_broken_metadata_spoils_no_picture() -> None:
    data = encoded(picture(), "JPEG", **oriented(picture(), 6))
    start = data.index(b"Exif\0\0") + 6
    assert imaging.decode(data[:start] + b"\xff" * 8 + data[start + 8 :], BOUNDS).shape == (20, 30, 3)


@pytest.mark.parametrize("format_", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(format_: str) -> None:
    options: dict[str, Any] = {"lossless": True} if format_ == "WEBP" else {}
    other = Image.new("RGB", (30, 20), "red")
    data = encoded(picture(), format_, save_all=True, append_images=[other], **options)
    assert np.array_equal(imaging.decode(data, BOUNDS), gradient())


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_truncated_picture_is_refused(format_: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(noise, format_)
    with pytest.raises(BadImage):
        imaging.decode(data[: int(len(data) * share)], BOUNDS)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GIF89a...", "GIF is not supported"),
        (b"SIMPLE  =                    T", "FITS is not supported"),
        (b"\0\0\0\x18ftypheic....", "HEIC is not supported"),
        (b"\0\0\0\x18ftypisom....", "video is not supported"),
        (b"<svg xmlns=''/>", "SVG is not supported"),
        (b"hello", "no picture"),
        (b"\0", "no picture"),
    ],
)
def test_other_formats_are_named(data: bytes, words: str) -> None:
    with pytest.raises(UnsupportedFormat, match=words):
        imaging.decode(data, BOUNDS)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(BadImage, match="empty"):
        imaging.decode(b"", BOUNDS)


@pytest.mark.parametrize("size", [(50_000, 50_000), (12_000, 9_000), (6_400, 6_400), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    data = png_header(*size)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            imaging.decode(data, BOUNDS)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("limits", "error", "words"),
    [
        ({"max_bytes": 50}, TooLarge, "at most 50 are taken"),
        ({"max_pixels": 599}, TooLarge, "30 × 20 pixels; at most 599"),
        ({"max_side": 29}, TooLarge, "no side may be longer than 29"),
        ({"max_aspect": 1.4}, BadImage, "too long and thin"),
    ],
)
def test_every_limit_is_named(limits: dict[str, Any], error: type[BadRequest], words: str) -> None:
    with pytest.raises(error, match=words):
        imaging.decode(encoded(picture(), "PNG"), ImageLimits(**limits))


def test_a_picture_at_the_limits_is_taken() -> None:
    data = encoded(picture(), "PNG")
    exact = ImageLimits(max_bytes=len(data), max_pixels=600, max_side=30, max_aspect=1.5)
    assert imaging.decode(data, exact).shape == (20, 30, 3)


@given(st.sampled_from(SEEDS), st.data())
def test_a_mutated_picture_is_a_picture_or_a_bad_request(seed: bytes, data: st.DataObject) -> None:
    mutant = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutant)))
        mutant[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(BadRequest):
        decoded = imaging.decode(bytes(mutant), BOUNDS)
        assert decoded.dtype == np.uint8
        assert decoded.shape[2] == 3

"""Bytes from strangers → uint8 [H, W, 3] RGB, and back to bytes for answers.

JPEG, PNG and WebP only, told by their content, never by name or media type. The header's size is checked before a
pixel is decoded. Transparent pictures are laid over white, EXIF orientation is applied (so all coordinates are those
of the picture as viewers show it), and of an animation the first frame is taken.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rsagent.errors import BadImage, TooLarge, UnsupportedFormat

Pixels = NDArray[np.uint8]
"""uint8 [H, W, 3], RGB."""

warnings.simplefilter("error", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
"""Pillow warns of broken metadata, once for each stranger's picture. For the whole process: scoping a filter to a call
is not safe among threads."""

_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError,
               ZeroDivisionError, struct.error, zlib.error)  # fmt: skip
"""What Pillow's parsers raise on broken bytes."""

_ADVICE = "send a JPEG, PNG or WebP picture"
_FOREIGN = {
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"%PDF": "PDF",
    b"SIMPLE": "FITS",
    b"8BPS": "Photoshop",
    b"<svg": "SVG",
    b"<?xml": "XML",
    b"\x00\x00\x01\x00": "ICO",
}
_FTYP = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF", b"avis": "AVIF"}


class ImageBounds(Protocol):
    """What a picture may be: bytes, pixels, longest side, longest over shortest side."""

    @property
    def max_bytes(self) -> int: ...
    @property
    def max_pixels(self) -> int: ...
    @property
    def max_side(self) -> int: ...
    @property
    def max_aspect(self) -> float: ...


def decode(data: bytes, bounds: ImageBounds) -> Pixels:
    """The picture in `data` as uint8 [H, W, 3] RGB, upright. Takes the CPU: call it in a worker.

    Raises BadImage (empty, broken, truncated, too long and thin), UnsupportedFormat (another format) or TooLarge
    (bytes, pixels, side).
    """
    if not data:
        raise BadImage(f"the image is empty: {_ADVICE}")
    if len(data) > bounds.max_bytes:
        raise TooLarge(f"the image has {len(data):,} bytes; at most {bounds.max_bytes:,} are taken")
    picture = _open(data, sniff(data))
    _check_size(picture.width, picture.height, bounds)
    try:
        picture.load()
        return _upright(_to_rgb(picture), _orientation(picture))
    except _UNREADABLE as error:
        raise BadImage("the image is damaged or cut short: send the whole file") from error


def sniff(data: bytes) -> Literal["JPEG", "PNG", "WEBP"]:
    """The format of a picture by its first bytes. Raises UnsupportedFormat, naming the format where it is known."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    known = next((name for magic, name in _FOREIGN.items() if data.startswith(magic)), None)
    if data[4:8] == b"ftyp":
        known = _FTYP.get(data[8:12], "video")
    raise UnsupportedFormat(f"{known} is not supported: {_ADVICE}" if known else f"this is no picture: {_ADVICE}")


def encode_jpeg(pixels: Pixels, quality: int = 85) -> bytes:
    """`pixels` (uint8 [H, W, 3] RGB) as a JPEG."""
    return _encoded(pixels, "JPEG", quality=quality)


def encode_png(pixels: Pixels) -> bytes:
    """`pixels` (uint8 [H, W, 3] RGB) as a PNG; lossless."""
    return _encoded(pixels, "PNG", compress_level=1)


def _encoded(pixels: Pixels, format_: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format_, **options)
    return buffer.getvalue()


def _open(data: bytes, format_: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=[format_])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge("the image claims far too many pixels") from error
    except _UNREADABLE as error:
        raise BadImage(f"the image's header cannot be read: {_ADVICE}") from error


def _check_size(width: int, height: int, bounds: ImageBounds) -> None:
    if min(width, height) < 1:
        raise BadImage("the image has no pixels")
    if width * height > bounds.max_pixels:
        raise TooLarge(f"the image is {width} × {height} pixels; at most {bounds.max_pixels:,} are taken")
    if max(width, height) > bounds.max_side:
        raise TooLarge(f"the image is {width} × {height} pixels; no side may be longer than {bounds.max_side}")
    if max(width, height) > bounds.max_aspect * min(width, height):
        raise BadImage(f"the image is {width} × {height} pixels: too long and thin, crop it")


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        return _from_16_bit(picture)
    if not picture.has_transparency_data:
        picture.load()  # what is RGB already is not copied
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    layered = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(layered, mask=layered.getchannel("A"))
    return white


def _from_16_bit(picture: Image.Image) -> Image.Image:
    """16-bit grey → RGB by its high byte, as Pillow does for 16-bit colour; its own conversion would clip."""
    grey = np.asarray(picture).astype(np.int64).clip(0, 0xFFFF) >> 8
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where the metadata is missing or broken, which spoils no picture."""
    try:
        value = picture.getexif().get(0x0112, 1)
        return value if isinstance(value, int) and 1 <= value <= 8 else 1
    except _UNREADABLE:
        return 1


def _upright(picture: Image.Image, orientation: int) -> Pixels:
    turned = picture if orientation == 1 else picture.transpose(_TRANSPOSE[orientation])
    return np.array(turned, dtype=np.uint8)


_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""As the EXIF standard (CIPA DC-008, tag 0x0112) names the sides that row 0 and column 0 are on."""

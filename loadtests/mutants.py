"""Bad input by the thousand: real picture files, damaged; and requests, damaged on the wire."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

from PIL import Image

from loadtests import wire
from rsagent import examples

FORMATS = ("JPEG", "PNG", "WEBP")
TROUBLE = [b"\xff", b"\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0", b"IHDR", b"IDAT",
           b"Exif\0\0", b"\xff\xd8", b"\xff\xda", b"acTL", b"fcTL", b"VP8X", b"ICCP", b"\x00\x00\xc3\x50"]  # fmt: skip
"""Bytes that parsers stumble over."""


def seeds(side: int = 160) -> list[bytes]:
    """The shipped pictures, small, in every format and some of their rarer kinds."""
    found = []
    for example in examples.load():
        with Image.open(example.path) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((side, side))
        exif = Image.Exif()
        exif[0x0112] = 6
        found += [_encoded(picture, kind, exif=exif) for kind in FORMATS]
    found += [_encoded(picture.convert(mode), "PNG") for mode in ("P", "L", "1", "LA", "RGBA", "I;16")]
    found += [_encoded(picture, kind, save_all=True, append_images=[picture.rotate(90)]) for kind in ("PNG", "WEBP")]
    found += [_encoded(picture, "JPEG", progressive=True), _encoded(picture.convert("CMYK"), "JPEG")]
    return found


def pictures(count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` damaged files: flipped bits, torn and swapped pieces, spliced formats, altered sizes."""
    dice, whole = random.Random(seed), seeds()
    for _ in range(count):
        yield _damaged(bytearray(dice.choice(whole)), dice, whole)


def requests(count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` damaged HTTP requests, as bytes for a socket."""
    dice, good = random.Random(seed), [wire.request(), wire.request(stream=True)]
    for _ in range(count):
        request = dice.choice(good)
        split = request.index(b"\r\n\r\n") + 4
        head, body = bytearray(request[:split]), bytearray(request[split : split + dice.choice((200, 2000, 10**9))])
        part = dice.choice((head, body))
        damaged = _damaged(part, dice, [request])
        yield damaged + bytes(body) if part is head else bytes(head) + damaged


def _damaged(data: bytearray, dice: random.Random, others: list[bytes]) -> bytes:
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(data) + 1) if dice.random() < 0.5 else dice.randrange(min(len(data), 200) + 1)
        match dice.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << dice.randrange(8)
            case 1:
                data[at : at + dice.randint(0, 8)] = dice.choice(TROUBLE)
            case 2:
                del data[at : at + dice.randint(1, 64)]
            case 3:
                data[at:at] = dice.randbytes(dice.randint(1, 16))
            case 4:
                del data[at : len(data) if dice.random() < 0.3 else at + 1]
            case _:
                other = dice.choice(others)
                start = dice.randrange(len(other))
                data[at : at + 32] = other[start : start + 32]
    return bytes(data)


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()

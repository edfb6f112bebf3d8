"""The three spellings of a mask in answers, each with its way back.

    coco_rle   COCO's compressed RLE, column-major, as pycocotools reads it
    png        a 1-bit PNG, base64
    polygon    outlines with holes, along pixel edges (see `masks.polygon`)

All carry `size` = [height, width] and are exact: decoding gives the same bool [H, W] back.
"""

from __future__ import annotations

import base64
import binascii
import io
from enum import StrEnum
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, TypeAdapter

from rsagent.errors import BadRequest
from rsagent.masks import polygon, rle

Mask = NDArray[np.bool_]
Size = tuple[NonNegativeInt, NonNegativeInt]
Coordinate = int | FiniteFloat
Vertex = tuple[Coordinate, Coordinate]


class MaskFormat(StrEnum):
    """How masks are spelled in an answer."""

    COCO_RLE = "coco_rle"
    PNG = "png"
    POLYGON = "polygon"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Size = Field(description="[height, width] of the original image, in pixels.")


class RleMask(_Document):
    """COCO's compressed run-length encoding: `pycocotools.mask.decode({"size": size, "counts": counts})`."""

    format: Literal[MaskFormat.COCO_RLE] = MaskFormat.COCO_RLE
    counts: str = Field(description="Column-major runs in COCO's compressed form.")


class PngMask(_Document):
    """A 1-bit PNG of the image's size: white is inside."""

    format: Literal[MaskFormat.PNG] = MaskFormat.PNG
    data: str = Field(description="The PNG's bytes, base64.")


class PolygonPart(BaseModel):
    """A connected part: `exterior` is its outline, `holes` are cut out of it. Rings are not closed by repetition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exterior: list[Vertex]
    holes: list[list[Vertex]] = []


class PolygonMask(_Document):
    """Polygons along pixel edges, filled by the even-odd rule: pixel (x, y) is the square up to (x + 1, y + 1)."""

    format: Literal[MaskFormat.POLYGON] = MaskFormat.POLYGON
    polygons: list[PolygonPart]


MaskDocument = Annotated[RleMask | PngMask | PolygonMask, Field(discriminator="format")]
MASK_DOCUMENT: TypeAdapter[RleMask | PngMask | PolygonMask] = TypeAdapter(MaskDocument)


def encode_mask(mask: Mask, mask_format: MaskFormat = MaskFormat.COCO_RLE) -> RleMask | PngMask | PolygonMask:
    """Spell a bool [H, W] mask."""
    size = (int(mask.shape[0]), int(mask.shape[1]))
    match mask_format:
        case MaskFormat.COCO_RLE:
            return RleMask(size=size, counts=rle.encode(mask))
        case MaskFormat.PNG:
            return PngMask(size=size, data=base64.b64encode(_png(mask)).decode("ascii"))
        case MaskFormat.POLYGON:
            return PolygonMask(size=size, polygons=[_part(part) for part in polygon.encode(mask)])


def decode_mask(document: RleMask | PngMask | PolygonMask) -> Mask:
    """The bool [H, W] mask of a document. Raises BadRequest where the document contradicts itself."""
    height, width = document.size
    match document:
        case RleMask():
            return rle.decode(document.counts, height, width)
        case PngMask():
            return _from_png(document.data, height, width)
        case PolygonMask():
            parts = [polygon.Polygon(_ring(p.exterior), tuple(map(_ring, p.holes))) for p in document.polygons]
            return polygon.decode(parts, height, width)


def _part(part: polygon.Polygon) -> PolygonPart:
    return PolygonPart.model_validate({"exterior": part.exterior, "holes": part.holes})


def _ring(vertices: list[Vertex]) -> polygon.Ring:
    return [list(vertex) for vertex in vertices]


def _png(mask: Mask) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def _from_png(data: str, height: int, width: int) -> Mask:
    """8-bit PNGs are read too: above the middle is inside."""
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=["PNG"])
        if picture.size != (width, height):
            raise BadRequest(f"the PNG mask is {picture.height} × {picture.width} pixels, not {height} × {width}")
        return np.asarray(picture.convert("L")) > 127
    except (binascii.Error, OSError, SyntaxError, ValueError) as error:
        raise BadRequest("the mask's data is no base64 PNG") from error

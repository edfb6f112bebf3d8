from __future__ import annotations

import base64
import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from rsagent.errors import BadRequest
from rsagent.masks import MaskFormat, decode_mask, encode_mask
from rsagent.masks.codecs import MASK_DOCUMENT, PngMask

MASKS = arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=16))

NUMBERS = st.integers(-(10**12), 10**12) | st.floats(-1e12, 1e12)
RINGS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=6)
PARTS = st.fixed_dictionaries({"exterior": RINGS}, optional={"holes": st.lists(RINGS, max_size=2)})


@st.composite
def damaged_pngs(draw: st.DrawFn) -> str:
    document = encode_mask(np.eye(9, dtype=np.bool_), MaskFormat.PNG)
    assert isinstance(document, PngMask)
    data = bytearray(base64.b64decode(document.data))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return base64.b64encode(bytes(data)).decode()


SPELLINGS = (
    st.fixed_dictionaries({"format": st.just("coco_rle"), "counts": st.text(max_size=12)})
    | st.fixed_dictionaries({"format": st.just("png"), "data": st.text(max_size=12) | damaged_pngs()})
    | st.fixed_dictionaries({"format": st.just("polygon"), "polygons": st.lists(PARTS, max_size=3)})
)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(SPELLINGS, st.tuples(st.integers(0, 12), st.integers(0, 12)))
def test_any_document_is_a_mask_of_its_size_or_refused(spelling: dict[str, Any], size: tuple[int, int]) -> None:
    with contextlib.suppress(BadRequest, ValidationError):
        mask = decode_mask(MASK_DOCUMENT.validate_python({**spelling, "size": size}))
        assert mask.shape == size
        assert mask.dtype == np.bool_


@given(MASKS, st.sampled_from(MaskFormat))
def test_every_format_survives_json(mask: NDArray[np.bool_], mask_format: MaskFormat) -> None:
    document = encode_mask(mask, mask_format)
    again = MASK_DOCUMENT.validate_json(document.model_dump_json())
    assert again == document
    assert again.size == mask.shape
    assert np.array_equal(decode_mask(again), mask)


def test_the_png_has_one_bit_a_pixel() -> None:
    document = encode_mask(np.eye(4, dtype=np.bool_), MaskFormat.PNG)
    assert isinstance(document, PngMask)
    assert Image.open(io.BytesIO(base64.b64decode(document.data))).mode == "1"


def test_an_8_bit_png_is_read_too() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 255], [127, 128]], dtype=np.uint8)).save(buffer, "PNG")
    document = PngMask(size=(2, 2), data=base64.b64encode(buffer.getvalue()).decode())
    assert decode_mask(document).tolist() == [[False, True], [False, True]]


def test_polygon_vertices_are_whole_numbers_in_json() -> None:
    text = encode_mask(np.ones((1, 1), dtype=np.bool_), MaskFormat.POLYGON).model_dump_json()
    assert "." not in text


@pytest.mark.parametrize("data", ["", "!", "aGVsbG8=", base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()])
def test_a_broken_png_is_refused(data: str) -> None:
    with pytest.raises(BadRequest, match="no base64 PNG"):
        decode_mask(PngMask(size=(1, 1), data=data))


def test_a_png_of_another_size_is_refused() -> None:
    document = encode_mask(np.ones((3, 4), dtype=np.bool_), MaskFormat.PNG)
    with pytest.raises(BadRequest, match="not 4 × 3"):
        decode_mask(document.model_copy(update={"size": (4, 3)}))

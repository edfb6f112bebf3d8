"""Rule 11: three formats, the header's size before any pixel, bombs refused, EXIF orientation applied."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.api.stage import on_stage
from tests.test_imaging import encoded, oriented, picture, png_header

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

JPEG = encoded(picture().resize((600, 400)), "JPEG")
ANIMATED = encoded(picture(), "PNG", save_all=True, append_images=[picture().rotate(90)])
FITS = b"SIMPLE  =                    T / conforms to FITS standard" + b" " * 2880
REFUSED = {
    "a PNG of 50,000 by 50,000": (png_header(50_000, 50_000), 413, "too_large"),
    "a JPEG cut short": (JPEG[: len(JPEG) // 2], 400, "bad_image"),
    "FITS called .jpg": (FITS, 415, "unsupported_format"),
}


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused_is_refused_clearly(name: str) -> None:
    data, status, code = REFUSED[name]
    async with on_stage() as stage:
        files = {"image": ("picture.jpg", data, "image/jpeg")}
        response = await stage.client.post("/v1/segment", data={"query": "x"}, files=files)
    assert (response.status_code, response.json()["code"]) == (status, code)


async def test_of_an_animation_the_first_frame_is_served() -> None:
    async with on_stage() as stage:
        assert (await stage.post(image=ANIMATED)).json()["image"] == {"width": 30, "height": 20}


async def test_a_turned_picture_is_served_upright() -> None:
    async with on_stage() as stage:
        document = (await stage.post(image=encoded(picture(), "JPEG", **oriented(picture(), 6)))).json()
    assert document["image"] == {"width": 20, "height": 30}
    assert document["objects"][0]["mask"]["size"] == [30, 20]


async def test_none_of_it_takes_memory() -> None:
    flat = io.BytesIO()
    Image.fromarray(np.zeros((8000, 8000), dtype=np.uint8)).save(flat, "PNG")  # 64 megapixels in 60 kB
    async with on_stage() as stage:
        await stage.post()
        before = resident()
        for data, *_ in [*REFUSED.values(), (flat.getvalue(), 413, "")]:
            for _ in range(5):
                assert (await stage.post(image=data)).status_code >= 400
        assert resident() - before < 100_000_000

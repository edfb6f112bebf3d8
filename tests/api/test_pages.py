from __future__ import annotations

import re

import pytest
from tests.api.stage import on_stage

from rsagent import examples


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_need_nothing_from_elsewhere(path: str) -> None:
    async with on_stage() as stage:
        page = await stage.client.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"(src|href)=\"(https?:)?//|@import|url\(", page.text)


async def test_examples_are_listed_and_can_be_segmented() -> None:
    async with on_stage() as stage:
        listed = (await stage.client.get("/v1/examples")).json()
        assert len(listed) == len(examples.load())
        for example in listed:
            picture = await stage.client.get(example["url"])
            assert picture.headers["content-type"] == "image/jpeg"
            answer = await stage.post(example["sentences"][0], picture.content)
            assert answer.status_code == 200

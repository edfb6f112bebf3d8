from __future__ import annotations

import re

import pytest
from tests.api.stage import Stage, on_stage

from rsagent import examples


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_pages_need_nothing_from_elsewhere(path: str) -> None:
    async with on_stage() as stage:
        page = await stage.client.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", page.text), "nothing inline, which would not be run"
    assert not re.search(r"(src|href)=\"(https?:)?//|@import|url\(", page.text)


async def test_what_the_pages_name_is_there_and_asked_for_anew() -> None:
    async with on_stage() as stage:
        named = set()
        for path in ("/", "/docs"):
            named |= set(re.findall(r"(?:src|href)=\"(/static/[^\"]+)\"", (await stage.client.get(path)).text))
        while new := {name for name in named if await _imports(stage, name) - named}:
            for name in new:
                named |= await _imports(stage, name)
        assert {"/static/app.js", "/static/style.css", "/static/rle.js", "/static/icon.svg"} <= named
        for name in named:
            file = await stage.client.get(name)
            assert file.status_code == 200, name
            assert not re.search(r"https?://(?!www\.w3\.org/)|@import|url\(", file.text), name
            assert file.headers["cache-control"] == "no-cache"
            kept = await stage.client.get(name, headers={"If-None-Match": file.headers["etag"]})
            assert kept.status_code == 304
        missing = await stage.client.get("/static/../pages.py")
        assert missing.status_code == 404
        assert missing.json()["code"] == "not_found"


async def _imports(stage: Stage, name: str) -> set[str]:
    """What a script imports."""
    return set(re.findall(r"from \"(/static/[^\"]+)\"", (await stage.client.get(name)).text))


async def test_examples_are_listed_and_can_be_segmented() -> None:
    async with on_stage() as stage:
        listed = (await stage.client.get("/v1/examples")).json()
        assert len(listed) == len(examples.load())
        for example in listed:
            picture = await stage.client.get(example["url"])
            assert picture.headers["content-type"] == "image/jpeg"
            answer = await stage.post(example["sentences"][0], picture.content)
            assert answer.status_code == 200

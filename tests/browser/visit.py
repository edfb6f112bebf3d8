"""The page as a visitor has it: opened on a stage, with every complaint of the browser's gathered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator, Page
from tests.api.stage import Cast, Stage, on_air

PATIENCE = 240_000
"""Milliseconds: a busy machine draws slowly."""


OVERHEAR = """
  const plain = fetch;
  window.sent = [];
  window.pictures = [];
  window.fetch = (address, wish) => {
    if (wish?.body) {
      sent.push(wish.body.get("options"));
      pictures.push(wish.body.get("image").size);
    }
    return plain(address, wish);
  };
"""
"""Keeps the options of every request, and how many bytes its picture has."""


@dataclass
class Visit:
    """An open page. `complaints` are errors of scripts, and what its Content-Security-Policy refused."""

    page: Page
    stage: Stage
    complaints: list[str] = field(default_factory=list)

    def at(self, selector: str) -> Locator:
        return self.page.locator(selector)

    async def ask(self, query: str) -> None:
        """Type a sentence and wait for the end of the story."""
        await self.page.fill("#query", query)
        await self.page.press("#query", "Enter")
        await self.over()

    async def over(self) -> None:
        """Wait until nothing runs; what was begun says something in the end."""
        await self.until("!document.body.classList.contains('busy')")

    async def until(self, condition: str) -> None:
        """Wait for a condition in JavaScript. (Playwright's own way evaluates in the page, which the page's
        Content-Security-Policy forbids, as it should.)"""
        async with asyncio.timeout(PATIENCE / 1000):
            while not await self.page.evaluate(condition):
                await asyncio.sleep(0.05)

    async def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the picture, in shares of its sides, is on the page."""
        box = await self.at("#sheet").bounding_box()
        assert box is not None
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    async def titles(self) -> list[str]:
        return await self.at("#turns .title").all_inner_texts()

    async def saved(self, kind: str, folder: Path) -> Path:
        """Save what is shown; the file."""
        async with self.page.expect_download() as waiting:
            await self.page.click(f"[data-save={kind}]")
        download = await waiting.value
        path = folder / download.suggested_filename
        await download.save_as(path)
        return path

    async def sent(self) -> dict[str, Any]:
        """Let it go on; the options of the request that this sent, once its story is over."""
        await self.page.click("#resume")
        await self.over()
        found: dict[str, Any] = json.loads(await self.page.evaluate("sent.at(-1)"))
        return found


@asynccontextmanager
async def visiting(browser: Browser, cast: Cast | None = None, **context: Any) -> AsyncIterator[Visit]:
    """The page, with the first example open. Fails in the end if the browser complained."""
    async with on_air(cast) as stage:
        opened = await browser.new_context(reduced_motion="reduce", **context)
        opened.set_default_timeout(PATIENCE)
        await opened.add_init_script(OVERHEAR)
        page = await opened.new_page()
        visit = Visit(page, stage)
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        page.on("console", lambda said: visit.complaints.append(said.text) if said.type == "error" else None)
        try:
            await page.goto(stage.url)
            await page.wait_for_selector("#picture:not([hidden])")
            yield visit
        finally:
            await opened.close()
        assert visit.complaints == []

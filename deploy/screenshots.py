"""Take the README's pictures of the playground anew, from a running service, in Debian's Chromium.

rsagent serve & python deploy/screenshots.py http://127.0.0.1:8080 docs/images
"""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
POINTS = ((405 / 640, 65 / 480), (285 / 640, 130 / 480))
"""The dog's head and hind leg in the first example, in shares of the picture's sides."""


async def main(url: str, folder: Path) -> None:
    """A desk in light, after a user has pointed; a phone in the dark."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        page = await visit(browser, url, "light", 1280, 800)
        box = await page.locator("#sheet").bounding_box()
        assert box is not None
        for x, y in POINTS:
            await page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        await page.click("#resume")
        await over(page)
        for _ in range(2):
            await page.press("#slider", "ArrowLeft")
        await take(page, folder / "playground.jpg")
        await take(await visit(browser, url, "dark", 390, 844), folder / "playground-phone.jpg")
        await browser.close()


async def visit(browser: Browser, url: str, scheme: str, width: int, height: int) -> Page:
    """The page in a window of its own, with the first example's question answered."""
    size = {"width": width, "height": height}
    context = await browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    context.set_default_timeout(300_000)
    page = await context.new_page()
    await page.goto(url)
    await page.wait_for_selector("#picture:not([hidden])")
    await page.click("#go")
    await over(page)
    return page


async def over(page: Page) -> None:
    """Wait until the story is told."""
    await page.wait_for_selector("body:not(.busy)")


async def take(page: Page, path: Path) -> None:
    """Write what is seen, small enough for a repository."""
    await asyncio.sleep(1)
    with Image.open(io.BytesIO(await page.screenshot(animations="disabled"))) as shot:
        shot.convert("RGB").save(path, quality=88, optimize=True)


if __name__ == "__main__":
    out = Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(sys.argv[1], out))

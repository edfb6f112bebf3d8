"""Take the README's pictures of the playground anew, still and moving, from a running service, in Debian's Chromium.

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


FILMED = 3
"""The example of the moving picture, from 0."""
LONG, SHORT = 1400, 220
"""Milliseconds that its frames stand."""


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
        await film(browser, url, folder / "playground.webp")
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


async def film(browser: Browser, url: str, path: Path) -> None:
    """A moving picture: the turns as they come, the answer, and a look back; it plays for ever."""
    page = await visit(browser, url, "light", 960, 640)
    await page.locator("#pictures button").nth(FILMED).click()
    await page.wait_for_load_state("networkidle")
    frames = [await frame(page)]
    await page.click("#go", no_wait_after=True)
    while await page.query_selector("body.busy"):
        frames.append(await frame(page))
    frames.append(await frame(page))
    times = [LONG, *[SHORT] * (len(frames) - 2), 2 * LONG]
    for _ in range(int(await page.get_attribute("#slider", "max") or 0)):
        await page.press("#slider", "ArrowLeft")
        frames.append(await frame(page))
        times.append(LONG)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=times, loop=0, quality=55, method=6)


async def frame(page: Page) -> Image.Image:
    """What is seen at the moment."""
    with Image.open(io.BytesIO(await page.screenshot())) as shot:
        return shot.convert("RGB")


if __name__ == "__main__":
    out = Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(sys.argv[1], out))

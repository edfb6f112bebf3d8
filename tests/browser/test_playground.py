"""The playground in a real browser: what a visitor does, and sees."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.async_api import Browser, FilePayload
from pycocotools import mask as coco
from tests.api.stage import FINISH, NO_TARGET, PNG, SEGMENT, Cast, call
from tests.browser.visit import visiting

from rsagent.errors import Overloaded, PolicyError
from rsagent.policy.fake import ScriptedPolicy
from rsagent.segmenter.fake import FakeSegmenter

pytestmark = pytest.mark.asyncio(loop_scope="package")

ZOOM = call("zoom", bbox_2d=[200, 200, 800, 800])
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def finisher(history: Any) -> str:
    """Looks once, then submits the latest mask."""
    made = sum(message.role == "assistant" and '"segment"' in message.text for message in history)
    return call("finish", mask_ids=[made]) if made else SEGMENT


async def test_a_question_becomes_a_story_with_masks(browser: Browser, tmp_path: Path) -> None:
    async with visiting(browser, Cast([SEGMENT, ZOOM, "hm", FINISH])) as visit:
        assert await visit.at("#pictures button img").count() == 8
        await visit.ask("the thing in the middle")
        assert await visit.titles() == [
            "Draws a box",
            "Looks closer",
            "Says something that is no move",
            "Submits the mask",
        ]
        assert await visit.at(".turn .thought").first.inner_text() == "about segment"
        assert await visit.at(".turn .score").inner_text() == "0.90"
        assert "ms" in await visit.at(".turn .time").first.inner_text()
        assert await visit.at(".turn img.frame").count() == 1, "the zoom's frame is shown"
        assert "One mask after 4 turns" in await visit.at("#status").inner_text()
        assert await visit.at("#moment").inner_text() == "Result"
        assert await visit.at("#masks canvas.shown").count() == 2, "the light around it, and the mask"
        size = tuple(
            await visit.page.evaluate("[document.images.picture.naturalWidth, document.images.picture.naturalHeight]")
        )

        with Image.open(await visit.saved("png", tmp_path)) as mask:
            assert mask.size == size
            inside = np.asarray(mask.convert("L")) > 127
        rle = json.loads((await visit.saved("rle", tmp_path)).read_text())
        (found,) = rle["objects"]
        assert rle["query"] == "the thing in the middle"
        assert coco.area(found["mask"]) == inside.sum() > 0
        cutout = await visit.saved("cutout", tmp_path)
        assert cutout.name == "the-thing-in-the-middle.png"
        with Image.open(cutout) as thing:
            x1, y1, x2, y2 = found["bbox"]
            assert thing.size == (x2 - x1, y2 - y1)
            assert (np.asarray(thing)[..., 3] > 0).sum() == inside.sum()


async def test_looking_back_shows_each_turn(browser: Browser) -> None:
    async with visiting(browser, Cast([SEGMENT, ZOOM, FINISH])) as visit:
        await visit.ask("x")
        await visit.at("#slider").focus()
        for moment, mark, masks in (("Turn 3 of 3", 0, 1), ("Turn 2 of 3", 2, 1), ("Turn 1 of 3", 1, 1)):
            await visit.page.keyboard.press("ArrowLeft")
            assert await visit.at("#moment").inner_text() == moment
            assert await visit.at("#marks > *").count() == mark
            await visit.until(f"document.querySelectorAll('#masks canvas:not(.gone)').length === {masks}")
        assert await visit.at("#slider").get_attribute("aria-valuetext") == "Turn 1 of 3"
        assert await visit.at(".turn.chosen .number").inner_text() == "1"
        await visit.at(".turn .head").nth(1).click()
        assert await visit.at("#moment").inner_text() == "Turn 2 of 3"


async def test_pointing_lets_it_go_on_from_there(browser: Browser) -> None:
    async with visiting(browser, Cast(policy=ScriptedPolicy(finisher))) as visit:
        await visit.ask("x")
        await visit.page.mouse.click(*await visit.place(0.9, 0.5))
        await visit.page.mouse.click(*await visit.place(0.3, 0.3), button="right")
        await visit.page.mouse.click(*await visit.place(0.4, 0.3))
        await visit.page.click("#undo")
        await visit.page.click("[data-label='0']")
        await visit.page.mouse.click(*await visit.place(0.4, 0.4))
        assert await visit.at("#count").inner_text() == "3 points"
        assert await visit.at(".pin.mine.minus").count() == 2
        (move,) = (await visit.sent())["start"]
        assert [point[2] for point in move["points"]] == [1, 0, 0]
        assert move["points"][0][0] == pytest.approx(0.9 * 640, abs=3)
        assert move["bbox"][2] > move["points"][0][0] > 0.76 * 640, "the box is grown to hold what was meant"
        assert await visit.titles() == ["Draws a box", "You point", "Submits the mask"]
        assert visit.stage.segmenter.prompts[-1].points[0][0] == move["points"][0][0]
        assert await visit.at("#onward").is_hidden()

        await visit.page.mouse.click(*await visit.place(0.1, 0.9))
        (again,) = (await visit.sent())["start"]
        assert len(again["points"]) == 4, "what was said before still counts"
        assert await visit.titles() == ["Draws a box", "You point", "You point", "Submits the mask"]


async def test_other_objects_are_brought_along(browser: Browser) -> None:
    other = call("segment", bbox_2d=[0, 0, 200, 200])
    async with visiting(browser, Cast([SEGMENT, other, call("finish", mask_ids=[1, 2])])) as visit:
        await visit.ask("both")
        assert "2 masks" in await visit.at("#status").inner_text()
        await visit.page.mouse.click(*await visit.place(0.05, 0.05))
        kept, mine = (await visit.sent())["start"]
        assert kept["bbox"] == pytest.approx([160, 120, 480, 360], abs=2)
        assert mine["points"][0][2] == 1
        assert mine["bbox"][0] == 0
        assert (await visit.titles())[:3] == ["Draws a box", "Draws a box", "You point"]


async def test_all_of_it_works_by_keyboard(browser: Browser) -> None:
    async with visiting(browser, Cast(policy=ScriptedPolicy(finisher))) as visit:
        press = visit.page.keyboard.press
        await press("/")
        await visit.page.keyboard.type("the cup")
        await press("Enter")
        await visit.over()
        assert (await visit.titles())[-1] == "Submits the mask"
        await visit.at("#stage").focus()
        assert await visit.at("#keys").is_visible(), "the keys are named where they work"
        for key in ("ArrowRight", "ArrowDown", "Enter", "ArrowLeft", "-", "Backspace"):
            await press(key)
        assert await visit.at("#count").inner_text() == "1 point"
        for _ in range(4):
            await press("Tab")
        assert await visit.page.evaluate("document.activeElement.id") == "resume"
        await press("Enter")
        await visit.over()
        assert (await visit.titles())[-2:] == ["You point", "Submits the mask"]


async def test_nothing_of_the_kind_is_said_as_such(browser: Browser) -> None:
    async with visiting(browser, Cast([NO_TARGET])) as visit:
        await visit.ask("a unicorn")
        assert await visit.at("#absent").inner_text() == "Not in this picture\nnothing of the kind"
        assert await visit.titles() == ["Finds nothing of the kind"]
        assert await visit.at("#saves").is_hidden()
        assert await visit.at("#masks canvas:not(.gone)").count() == 0


async def test_a_budget_that_ran_out_leaves_a_best_guess(browser: Browser) -> None:
    async with visiting(browser, Cast([SEGMENT])) as visit:
        await visit.ask("x")
        assert "best guess: it went in circles" in await visit.at("#status").inner_text()
        assert await visit.at(".advice").first.is_visible()


@pytest.mark.parametrize(
    ("failure", "heading", "button"),
    [
        (PolicyError("the engine is gone"), "Something went wrong", "Try again"),
        (Overloaded("come back later", retry_after=30), "It is busy", "Try again in"),
    ],
)
async def test_errors_are_readable_and_name_the_way_out(
    browser: Browser, failure: Any, heading: str, button: str
) -> None:
    policy = ScriptedPolicy(finisher, failure=failure)
    async with visiting(browser, Cast(policy=policy)) as visit:
        await visit.ask("x")
        said = await visit.at("#problem").inner_text()
        assert heading in said
        assert str(failure) in said
        assert failure.code in said
        assert "request " in said
        assert button in said
        if button == "Try again":
            policy.failure = None
            await visit.page.click("#problem button")
            await visit.over()
            assert await visit.at("#problem").inner_text() == ""
            assert (await visit.titles())[-1] == "Submits the mask"


async def test_stopping_ends_the_episode(browser: Browser) -> None:
    async with visiting(browser, Cast(policy=ScriptedPolicy([SEGMENT], piece=4, piece_delay=0.4))) as visit:
        await visit.page.click("#go")
        await visit.until("document.querySelector('.turn .thought')?.textContent.startsWith('ab')")
        assert await visit.at("#go").is_hidden()
        await visit.page.keyboard.press("Escape")
        assert await visit.at("#status").inner_text() == "Stopped."
        await visit.stage.quiet(60)
        assert await visit.at("#go").is_visible()


async def test_a_picture_of_ones_own_by_choice_drop_and_paste(browser: Browser) -> None:
    async with visiting(browser) as visit:
        width = "document.images.picture.naturalWidth"
        await visit.page.set_input_files("#file", {"name": "mine.png", "mimeType": "image/png", "buffer": PNG})
        await visit.until(f"{width} === 60")
        assert await visit.at("#pictures [aria-pressed=true]").count() == 0
        for kind, size in (("drop", 61), ("paste", 62)):
            picture = io.BytesIO()
            Image.new("RGB", (size, 20), "red").save(picture, "PNG")
            await visit.page.evaluate(HAND_OVER, [kind, list(picture.getvalue())])
            await visit.until(f"{width} === {size}")
        await visit.ask("the red")
        assert (await visit.titles())[-1] == "Submits the mask"
        await visit.page.set_input_files("#file", {"name": "x.png", "mimeType": "image/png", "buffer": b"no picture"})
        await visit.until("document.querySelector('#problem').textContent.includes('cannot open')")


async def test_a_question_is_about_the_picture_that_was_chosen_last(browser: Browser) -> None:
    async with visiting(browser) as visit:
        await visit.page.evaluate(HOLD_BACK)
        await visit.page.set_input_files("#file", {"name": "mine.png", "mimeType": "image/png", "buffer": PNG})
        await visit.page.fill("#query", "the red")
        await visit.page.press("#query", "Enter")
        await visit.until("document.querySelector('#status').textContent.includes('Opening')")
        assert await visit.page.evaluate("sent.length") == 0
        await visit.page.evaluate("letGo.splice(0).forEach(go => go())")
        await visit.until("sent.length === 1")
        await visit.over()
        assert await visit.page.evaluate("[document.images.picture.naturalWidth, pictures.at(-1)]") == [60, len(PNG)]
        assert (await visit.titles())[-1] == "Submits the mask"


async def test_of_two_pictures_the_one_chosen_last_is_shown_whichever_is_ready_first(browser: Browser) -> None:
    async with visiting(browser) as visit:
        await visit.page.evaluate(HOLD_BACK)
        await visit.page.set_input_files("#file", {"name": "mine.png", "mimeType": "image/png", "buffer": PNG})
        picture = io.BytesIO()
        Image.new("RGB", (61, 20), "red").save(picture, "PNG")
        await visit.page.evaluate(HAND_OVER, ["drop", list(picture.getvalue())])
        await visit.until("letGo.length === 2")
        await visit.page.evaluate("letGo[1]()")
        await visit.until("document.images.picture.naturalWidth === 61")
        await visit.page.evaluate("letGo[0]()")
        await visit.ask("the red")
        assert await visit.page.evaluate("document.images.picture.naturalWidth") == 61


HOLD_BACK = """() => {
  const plain = Image.prototype.decode;
  window.letGo = [];
  Image.prototype.decode = function () { return new Promise(go => letGo.push(go)).then(() => plain.call(this)); };
}"""
"""Pictures are ready when the test says so."""


HAND_OVER = """([kind, bytes]) => {
  const carried = new DataTransfer();
  carried.items.add(new File([new Uint8Array(bytes)], "carried.png", {type: "image/png"}));
  if (kind === "drop") dispatchEvent(new DragEvent("drop", {dataTransfer: carried, cancelable: true}));
  else dispatchEvent(new ClipboardEvent("paste", {clipboardData: carried, cancelable: true}));
}"""


SMALL = """[...document.querySelectorAll("button")]
  .filter(button => button.checkVisibility() && button.getBoundingClientRect().height < 28)
  .map(button => button.textContent)"""


async def test_a_phone_shows_all_of_it(browser: Browser) -> None:
    async with visiting(browser, Cast([SEGMENT, FINISH]), **PHONE) as visit:
        await visit.ask("x")
        assert await visit.page.evaluate("document.documentElement.scrollWidth") == 390, "nothing sticks out"
        await visit.page.touchscreen.tap(*await visit.place(0.5, 0.5))
        assert await visit.at("#resume").is_visible()
        small = await visit.page.evaluate(SMALL)
        assert small == [], "fingers need room"


async def test_colours_follow_the_system_until_one_is_chosen(browser: Browser) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    async with visiting(browser, color_scheme="dark") as visit:
        dark = await visit.page.evaluate(ground)
        await visit.page.click("#theme")
        assert await visit.page.evaluate(ground) != dark
        assert await visit.at("#theme").get_attribute("aria-label") == "Colours: light"
        await visit.page.reload()
        assert await visit.page.evaluate(ground) != dark, "a choice is kept"
        await visit.page.click("#theme")
        await visit.page.click("#theme")
        assert await visit.page.evaluate(ground) == dark


async def test_a_key_is_asked_for_where_one_is_needed(browser: Browser) -> None:
    import hashlib

    hashes = {"me": hashlib.sha256(b"secret").hexdigest()}
    async with visiting(browser, Cast([SEGMENT, FINISH], settings={"keys": {"hashes": hashes}})) as visit:
        await visit.ask("x")
        await visit.page.fill("#problem input", "secret")
        await visit.page.press("#problem input", "Enter")
        await visit.page.wait_for_selector("#saves:not([hidden])")
        assert (await visit.titles())[-1] == "Submits the mask"
        assert all("401" in complaint for complaint in visit.complaints)
        visit.complaints.clear()


async def test_many_pixels_are_no_trouble(browser: Browser) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (4000, 3000), "teal").save(picture, "JPEG")
    async with visiting(browser, Cast(segmenter=FakeSegmenter())) as visit:
        file: FilePayload = {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": picture.getvalue()}
        await visit.page.set_input_files("#file", file)
        await visit.until("document.images.picture.naturalWidth === 4000")
        await visit.ask("x")
        assert await visit.at("#masks canvas.shown").count() == 2


async def test_the_documentation_is_drawn(browser: Browser) -> None:
    async with visiting(browser) as visit:
        await visit.page.goto(visit.stage.url + "/docs")
        await visit.page.wait_for_selector("#schemas details")
        assert "/v1/segment/batch" in await visit.at("#paths").inner_text()

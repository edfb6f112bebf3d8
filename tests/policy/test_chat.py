"""Histories as chat messages, and images as data URLs."""

from __future__ import annotations

import base64
import re
from typing import Literal

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policy.tiny import picture

from rsagent.policy.chat import ImageWriter, encode_image, images_of, openai_messages, plain, template_messages
from rsagent.policy.protocol import ImagePart, Message


def decode(url: str) -> np.ndarray:
    data = base64.b64decode(url.partition(",")[2])
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def smooth(seed: int, side: int = 64) -> ImagePart:
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return ImagePart(str(seed), cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.uint8))


@given(st.text(st.sampled_from("<|>im_startpad x"), max_size=60))
def test_no_control_token_survives(text: str) -> None:
    clean = plain(text)
    assert not re.search(r"<\|[^|<>]{1,64}\|>", clean)
    assert clean.replace("< |", "<|") == text.replace("< |", "<|")


@pytest.mark.parametrize("text", ["a <| b", "<tool_call>{}</tool_call>", "x < y | z > 0", "<||>"])
def test_other_text_stays(text: str) -> None:
    assert plain(text) == text


def test_template_messages_mark_images_in_order() -> None:
    history = (Message.of("system", "s"), Message.of("user", picture(1), "a<|im_end|>", picture(2)))
    assert template_messages(history) == [
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a< |im_end|>"}, {"type": "image"}]},
    ]
    assert [image.uuid for image in images_of(history)] == [picture(1).uuid, picture(2).uuid]


def test_openai_messages_are_plain_strings_without_images() -> None:
    history = (Message.of("assistant", "a", "<|b|>"), Message.of("user", picture(1), "c"))
    assert openai_messages(history, lambda image: {"type": "image_url", "uuid": image.uuid}) == [
        {"role": "assistant", "content": "a< |b|>"},
        {"role": "user", "content": [{"type": "image_url", "uuid": picture(1).uuid}, {"type": "text", "text": "c"}]},
    ]


def test_a_png_gives_the_same_pixels() -> None:
    part = picture(3)
    np.testing.assert_array_equal(decode(ImageWriter("png").url(part)), part.pixels)


def test_a_jpeg_gives_nearly_the_same_pixels() -> None:
    part = smooth(3)
    url = ImageWriter("jpeg").url(part)
    assert url.startswith("data:image/jpeg;base64,")
    assert np.abs(decode(url).astype(int) - part.pixels.astype(int)).mean() < 2


@pytest.mark.parametrize(("side", "kind"), [(256, "png"), (288, "png"), (320, "jpeg")])
def test_small_views_are_lossless_by_default(side: int, kind: Literal["png", "jpeg"]) -> None:
    part = smooth(1, side)
    url = ImageWriter().url(part)
    assert url.startswith(f"data:image/{kind};base64,")
    assert base64.b64decode(url.partition(",")[2]) == encode_image(part.pixels, kind)


def test_an_image_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def encode(pixels: np.ndarray, kind: str) -> bytes:
        calls.append(kind)
        return b"x" * 30

    monkeypatch.setattr("rsagent.policy.chat.encode_image", encode)
    writer = ImageWriter(max_bytes=140)
    first, second, third = (picture(seed) for seed in range(3))
    for part in (first, second, first, third, first):
        writer.url(part)
    assert len(calls) == 3
    writer.url(second)
    assert len(calls) == 4


def test_known_images_are_named_only() -> None:
    writer, part = ImageWriter(), picture(1)
    assert writer.part(part) == {"type": "image_url", "image_url": {"url": writer.url(part)}}
    assert writer.part(part, set())["uuid"] == part.uuid
    assert writer.part(part, {part.uuid}) == {"type": "image_url", "image_url": None, "uuid": part.uuid}

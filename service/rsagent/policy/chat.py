"""A history as chat messages: the form chat templates take, and the form OpenAI-compatible servers take."""

from __future__ import annotations

import base64
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Set
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rsagent.policy.protocol import ChatMessage, History, ImagePart, Message, TextPart

ImageFormat = Literal["auto", "png", "jpeg"]

SMALL_VIEW = 288 * 288
"""Pixels up to which 'auto' sends PNG: lossless costs little there, and a small policy sees the very same pixels."""

_CONTROL = re.compile(r"<\|(?=[^|<>]{1,64}\|>)")


def plain(text: str) -> str:
    """Text in which no control token (`<|im_start|>`, `<|image_pad|>`, …) is left: `<|` becomes `< |`.

    A chat template writes those itself; in a part they could only forge a message or a picture.
    """
    return _CONTROL.sub("< |", text)


def template_messages(history: History) -> list[ChatMessage]:
    """Messages for `tokenizer.apply_chat_template`: one placeholder an image, in order."""
    return [{"role": message.role, "content": [_template_part(part) for part in message.parts]} for message in history]


def _template_part(part: TextPart | ImagePart) -> dict[str, Any]:
    return {"type": "image"} if isinstance(part, ImagePart) else {"type": "text", "text": plain(part.text)}


def images_of(history: History) -> tuple[ImagePart, ...]:
    """All image parts, in order."""
    return tuple(part for message in history for part in message.parts if isinstance(part, ImagePart))


def openai_messages(history: History, image: Callable[[ImagePart], dict[str, Any]]) -> list[ChatMessage]:
    """Messages for `/v1/chat/completions`; `image` writes an image part. A message of text alone is a plain string."""
    return [_openai_message(message, image) for message in history]


def _openai_message(message: Message, image: Callable[[ImagePart], dict[str, Any]]) -> ChatMessage:
    if all(isinstance(part, TextPart) for part in message.parts):
        return {"role": message.role, "content": plain(message.text)}
    parts = [
        image(part) if isinstance(part, ImagePart) else {"type": "text", "text": plain(part.text)}
        for part in message.parts
    ]
    return {"role": message.role, "content": parts}


class ImageWriter:
    """Image parts as data URLs that we encoded ourselves, each once: kept by `uuid`. Any thread may ask."""

    def __init__(self, image_format: ImageFormat = "auto", max_bytes: int = 32 * 1024 * 1024) -> None:
        self._format = image_format
        self._max_bytes = max_bytes
        self._bytes = 0
        self._urls: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def part(self, image: ImagePart, known: Set[str] | None = None) -> dict[str, Any]:
        """An `image_url` part. With `known`, the server takes uuids: those in it are named without their content."""
        if known is None:
            return {"type": "image_url", "image_url": {"url": self.url(image)}}
        content = None if image.uuid in known else {"url": self.url(image)}
        return {"type": "image_url", "image_url": content, "uuid": image.uuid}

    def url(self, image: ImagePart) -> str:
        """`data:image/…;base64,…`."""
        with self._lock:
            if (url := self._urls.get(image.uuid)) is not None:
                self._urls.move_to_end(image.uuid)
                return url
        url = self._encode(image.pixels)
        with self._lock:
            self._keep(image.uuid, url)
        return url

    def _keep(self, uuid: str, url: str) -> None:
        self._bytes += len(url) - len(self._urls.pop(uuid, ""))
        self._urls[uuid] = url
        while self._bytes > self._max_bytes and len(self._urls) > 1:
            self._bytes -= len(self._urls.popitem(last=False)[1])

    def _encode(self, pixels: NDArray[np.uint8]) -> str:
        png = self._format == "png" or (self._format == "auto" and pixels.shape[0] * pixels.shape[1] <= SMALL_VIEW)
        kind: Literal["png", "jpeg"] = "png" if png else "jpeg"
        data = base64.b64encode(encode_image(pixels, kind)).decode("ascii")
        return f"data:image/{kind};base64,{data}"


def encode_image(pixels: NDArray[np.uint8], kind: Literal["png", "jpeg"]) -> bytes:
    """uint8 [h, w, 3] RGB as a PNG, or as a JPEG of quality 95 with full-resolution colour (edges matter here)."""
    options = (
        [cv2.IMWRITE_PNG_COMPRESSION, 1]
        if kind == "png"
        else [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    )
    done, data = cv2.imencode(f".{kind}", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)
    assert done, "OpenCV encodes every uint8 [h, w, 3] array"
    return data.tobytes()

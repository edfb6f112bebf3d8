"""From an HTTP body to a call: counted bytes in, a picture, a sentence and options out."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from dataclasses import dataclass

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from rsagent import imaging
from rsagent.api.forms import parse_form
from rsagent.api.requests import (
    BatchItem,
    Options,
    SegmentRequest,
    check_query,
    parse_fields,
    parse_json,
    parse_options,
)
from rsagent.api.waiting import ClientGone
from rsagent.errors import BadImage, BadQuery, BadRequest, TooLarge, UnsupportedFormat
from rsagent.segmenter.protocol import image_id
from rsagent.settings import Limits

JSON = "application/json"
FORM = "multipart/form-data"
_ADDRESSES = ("https://", "http://", "file://")
_ADDRESSES_BYTES = tuple(scheme.encode() for scheme in _ADDRESSES)
SLACK = 64 * 1024
"""Bytes a body may have beside its picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A valid request: `image` is uint8 [H, W, 3] RGB, upright; `query` is tidy."""

    image: NDArray[np.uint8]
    query: str
    options: Options

    def fingerprint(self) -> str:
        """Equal for equal requests, however they were sent. Takes the CPU."""
        digest = hashlib.sha256(image_id(self.image).encode())
        digest.update(self.query.encode("utf-8", "surrogatepass"))
        digest.update(self.options.model_dump_json().encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class AddressedCall:
    """A valid request whose picture is at an address, and so must be fetched first."""

    url: str
    query: str
    options: Options

    def with_picture(self, data: bytes, limits: Limits) -> Call:
        """The call, with what was fetched. Takes the CPU. Raises as `imaging.decode`."""
        return Call(imaging.decode(data, limits.image), self.query, self.options)


def media_type(request: Request) -> str:
    """JSON or FORM. Raises UnsupportedFormat for anything else, compressed bodies among it."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedFormat("send the body without Content-Encoding")
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in (JSON, FORM):
        raise UnsupportedFormat(f"send {FORM} (image, query) or {JSON}, not {given[:60] or 'a body without a type'}")
    return given


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body of a request. Raises as `read_bounded`, and UnsupportedFormat."""
    limit = _body_limit(media_type(request), limits.image.max_bytes)
    return await read_bounded(request, limit, limits.upload_timeout)


async def read_bounded(request: Request, limit: int, seconds: float) -> bytes:
    """At most `limit` bytes, counted as they come: a declared length is only believed when it is too large.

    Raises TooLarge at the limit and one chunk, HTTPException 408 if it takes longer than `seconds`, ClientGone.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError as error:
        raise HTTPException(408, f"the body did not arrive within {seconds:g} s") from error
    except ClientDisconnect as error:
        raise ClientGone from error
    return bytes(body)


def parse(content_type: str, body: bytes, limits: Limits) -> Call | AddressedCall:
    """The call in a body. Takes the CPU: run it in a worker. Raises a BadRequest for everything that is wrong."""
    is_form = content_type.lower().startswith(FORM)
    return _checked(*(_from_form(content_type, body) if is_form else _from_json(body)), limits)


def parse_line(line: bytes, limits: Limits) -> Call | AddressedCall:
    """The call in a line of a batch. As `parse`."""
    return _checked(*_from_json(line, BatchItem), limits)


def _checked(picture: bytes | str, query: str, options: Options, limits: Limits) -> Call | AddressedCall:
    query = check_query(query, limits.query_length)
    check_options(options, limits)
    if isinstance(picture, str):
        return AddressedCall(picture, query, options)
    return Call(imaging.decode(picture, limits.image), query, options)


def check_options(options: Options, limits: Limits) -> None:
    """Hold options to what this service grants. Raises BadQuery."""
    if (options.max_turns or 0) > limits.max_turns:
        raise BadQuery(f"max_turns: at most {limits.max_turns} are granted")
    if (options.deadline_ms or 0) > limits.max_deadline * 1000:
        raise BadQuery(f"deadline_ms: at most {limits.max_deadline * 1000:g} are granted")


def _from_json(body: bytes, model: type[SegmentRequest] = SegmentRequest) -> tuple[bytes | str, str, Options]:
    request = parse_json(body, model)
    return _from_base64(request.image), request.query, request.options


def _from_form(content_type: str, body: bytes) -> tuple[bytes | str, str, Options]:
    fields = parse_form(content_type, body)
    given_image, query = _single(fields, "image"), _text("query", _single(fields, "query"))
    image = given_image.decode("ascii", "replace") if given_image.startswith(_ADDRESSES_BYTES) else given_image
    given = {name: ",".join(_text(name, value) for value in values) for name, values in fields.items()}
    if "options" not in given:
        return image, query, parse_fields(given)
    if len(given) > 1:
        raise BadQuery(f"options: give them as JSON there or as fields ({', '.join(given)}), not both")
    return image, query, parse_options(given["options"])


def _single(fields: dict[str, list[bytes]], name: str) -> bytes:
    values = fields.pop(name, [])
    if len(values) != 1:
        missing = f"{name} is missing: send a form with `image` (a file) and `query`"
        raise BadQuery(f"{name} is there {len(values)} times" if values else missing)
    return values[0]


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"the form field {name[:60]} is no UTF-8 text") from error


def _from_base64(text: str) -> bytes | str:
    if text.startswith(_ADDRESSES):
        return text
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise BadImage("the data URL must be base64: data:image/png;base64,…")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadImage("the image is no valid base64") from error


def _body_limit(kind: str, max_bytes: int) -> int:
    return (max_bytes * 4 // 3 if kind == JSON else max_bytes) + SLACK


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit:,} bytes: send less")

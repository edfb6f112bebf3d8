from __future__ import annotations

import contextlib

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rsagent.api.forms import parse_form
from rsagent.errors import BadRequest

NAMES = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=6)


@given(st.dictionaries(NAMES, st.binary(max_size=60), min_size=1, max_size=5))
def test_what_a_client_sends_is_what_is_read(files: dict[str, bytes]) -> None:
    request = httpx.Request("POST", "http://x", files=files)
    fields = parse_form(request.headers["content-type"], request.read())
    assert fields == {name: [data] for name, data in files.items()}


def test_fields_keep_their_order_and_repeat() -> None:
    request = httpx.Request("POST", "http://x", data={"a": ["1", "2"]}, files={"b": b"\r\n--x"})
    assert parse_form(request.headers["content-type"], request.read()) == {"a": [b"1", b"2"], "b": [b"\r\n--x"]}


@given(st.text(st.characters(max_codepoint=255), max_size=80), st.binary(max_size=200))
def test_anything_is_a_form_or_a_bad_request(content_type: str, body: bytes) -> None:
    with contextlib.suppress(BadRequest):
        parse_form(content_type, body)


@given(st.lists(st.sampled_from([b"--B", b"\r\n", b"--", b"Content-Disposition: form-data; name=a", b"\n", b"x"])))
def test_pieces_of_a_form_are_a_form_or_a_bad_request(pieces: list[bytes]) -> None:
    with contextlib.suppress(BadRequest):
        parse_form("multipart/form-data; boundary=B", b"".join(pieces))


def test_the_boundary_is_needed() -> None:
    with pytest.raises(BadRequest, match="boundary"):
        parse_form("multipart/form-data", b"")

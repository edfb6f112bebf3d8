"""A file of lines: what a killed run leaves, and who may write."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rsagent.errors import RSAgentError
from rsagent.lines import Lines

TEXTS = st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b" ")), max_size=6)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines") / "deep" / "file"


@given(TEXTS, st.integers(0, 300))
@settings(max_examples=50, deadline=None)
def test_killed_at_any_byte_it_keeps_the_whole_lines_and_goes_on(path: Path, texts: list[bytes], cut: int) -> None:
    path.unlink(missing_ok=True)
    with Lines.open(path) as lines:
        offsets = [lines.append(text) for text in texts]
        assert list(lines.whole()) == [(at, text + b"\n") for at, text in zip(offsets, texts, strict=True)]
    left = path.read_bytes()[:cut]
    path.write_bytes(left)
    with Lines.open(path) as lines:
        kept = [line for _, line in lines.whole()]
        assert b"".join(kept) == left[: left.rfind(b"\n") + 1]
        assert lines.at(lines.append(b"next")) == b"next\n"
        assert [line for _, line in lines.whole()] == [*kept, b"next\n"]


def test_one_writes_at_a_time(path: Path) -> None:
    with Lines.open(path), pytest.raises(RSAgentError, match="another run writes"):
        Lines.open(path)
    Lines.open(path).close()


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(RSAgentError, match="cannot write"):
        Lines.open(tmp_path)

"""A pickle is a program; ours are only read."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.evaluation.datasets.making import pickled

from rsagent.evaluation.datasets import DatasetError
from rsagent.evaluation.datasets.pickles import _BROKEN, plain, read

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(PLAIN, st.integers(2, pickle.HIGHEST_PROTOCOL))
def test_plain_data_comes_back(value: Any, protocol: int) -> None:
    if protocol == 2 and _has_bytes(value):  # which that protocol spells as a call
        return
    assert plain(pickle.dumps(value, protocol)) == value


def _has_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_bytes, value.values()))
    return any(map(_has_bytes, value)) if isinstance(value, list | tuple) else isinstance(value, bytes)


def test_texts_of_python_2(tmp_path: Path) -> None:
    pickled(tmp_path / "x.p", [{"sent": "the man", "id": 3}])
    assert b"S'the man'" in (tmp_path / "x.p").read_bytes()
    assert read(tmp_path / "x.p", "refs") == [{"sent": "the man", "id": 3}]
    assert plain(b"\x80\x02U\x05caf\xc3\xa9.") == "caf\u00e9"


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)

    def __init__(self, path: str) -> None:
        self.path = path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_is_run(tmp_path: Path, protocol: int) -> None:
    trap = tmp_path / "trap"
    (tmp_path / "x.p").write_bytes(pickle.dumps([Bomb(str(trap))], protocol))
    with pytest.raises(DatasetError, match=r"no pickle of plain data .*mkdir"):
        read(tmp_path / "x.p", "refs")
    assert not trap.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",  # STACK_GLOBAL
        b"Pmine\n.",  # PERSID
        b"]R.", b"}(K\x01K\x02tR.", b"K\x01}b.",  # calls and states of what is no function and no object
    ],
)  # fmt: skip
def test_every_way_to_run_something_is_shut(tmp_path: Path, program: bytes) -> None:
    (tmp_path / "x.p").write_bytes(program)
    with pytest.raises(DatasetError, match="download it again"):
        read(tmp_path / "x.p", "refs")


@given(st.binary(max_size=200))
def test_damage_is_an_error_of_ours(data: bytes) -> None:
    with contextlib.suppress(*_BROKEN):
        plain(data)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot read"):
        read(tmp_path / "x.p", "refs")

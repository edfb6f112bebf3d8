"""Log files, and the line in them that matters."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsagent.engines import logs
from rsagent.errors import NotConfigured

VLLM = """\
(APIServer pid=1) INFO 11-23 07:02:48 [api_utils.py:286] non-default args
(EngineCore pid=2) Traceback (most recent call last):
(EngineCore pid=2)   File "core.py", line 1514, in run_engine_core
(EngineCore pid=2) ValueError: the context is too long
Traceback (most recent call last):
RuntimeError: Engine core initialization failed. See root cause above.
/usr/lib/resource_tracker.py:254: UserWarning: leaked shared_memory objects
  warnings.warn('resource_tracker')
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ""),
        ("\n\n", ""),
        ("only this\n\n", "only this"),
        (VLLM, "RuntimeError: Engine core initialization failed. See root cause above."),
        ("usage: api_server [-h]\napi_server.py: error: unrecognized arguments: --x\n", "api_server.py: error: unrec"),
        ("ModuleNotFoundError: No module named 'vllm'\n", "ModuleNotFoundError: No module named 'vllm'"),
    ],
)
def test_the_last_error_is_found(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "a.log"
    path.write_text(text)
    assert logs.last_error(path).startswith(told)
    assert bool(logs.last_error(path)) == bool(told)


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("Error: old\n" + "x" * 2 * logs.TAIL_BYTES + "\nlast\n")
    assert logs.last_error(path) == "last"


def test_the_newest_logs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "KEPT", 3)
    other = tmp_path / "other.log"
    other.touch()
    made = [logs.new_log(tmp_path, "vllm") for _ in range(5)]
    assert len(set(made)) == 5
    assert sorted(tmp_path.iterdir()) == sorted([*made[-3:], other])


def test_an_unwritable_folder_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotConfigured, match=r"vllm\.logs"):
        logs.new_log(tmp_path / "file", "vllm")

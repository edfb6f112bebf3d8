from __future__ import annotations

from pathlib import Path

import pytest

from rsagent.api.keys import Keyring, hash_key
from rsagent.api.settings import KeySettings
from rsagent.cli.key import make
from rsagent.errors import BadRequest


def test_a_made_key_opens_and_its_line_does_not_hold_it(tmp_path: Path) -> None:
    line, key = make("alice", 2.5, 3)
    assert key not in line
    assert hash_key(key) in line
    (tmp_path / "keys.txt").write_text(line + "\n")
    tenant = Keyring.load(KeySettings(file=str(tmp_path / "keys.txt")), inflight=8).admit(key)
    assert (tenant.name, tenant.rate, tenant.concurrency) == ("alice", 2.5, 3)


def test_a_name_that_no_line_could_hold_is_refused() -> None:
    with pytest.raises(BadRequest, match="is no name for a key"):
        make("two words", None, None)

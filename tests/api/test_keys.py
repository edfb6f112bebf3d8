from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

import pytest

from rsagent.api.keys import ANYONE, Keyring, Tenant, hash_key, new_key
from rsagent.api.settings import KeySettings
from rsagent.errors import NotConfigured, RateLimited, Unauthorized

ALICE, BOB = new_key(), new_key()


def ring(*lines: str, tmp_path: Path, **settings: Any) -> Keyring:
    path = tmp_path / "keys.txt"
    path.write_text("\n".join(lines))
    return Keyring.load(KeySettings(file=str(path), **settings), inflight=8)


def test_without_keys_everybody_is_let_in() -> None:
    keys = Keyring.load(KeySettings(), inflight=8)
    assert (len(keys), keys.admit(None)) == (0, ANYONE)


def test_a_file_and_the_settings_name_keys(tmp_path: Path) -> None:
    keys = ring(
        "# who may ask", "", f"alice {hash_key(ALICE)} rate=2 concurrency=3  # a comment",
        tmp_path=tmp_path, hashes={"bob": hash_key(BOB)}, rate=9.0,
    )  # fmt: skip
    assert keys.admit(ALICE) == Tenant("alice", 2.0, 3)
    assert keys.admit(BOB) == Tenant("bob", 9.0, 4), "half of the places where there are several keys"


def test_a_single_key_may_take_every_place(tmp_path: Path) -> None:
    assert ring(f"alice {hash_key(ALICE)}", tmp_path=tmp_path).admit(ALICE).concurrency == 8


@pytest.mark.parametrize("key", [None, "", "wrong", ALICE[:-1], ALICE + "x", "\udcff"])
def test_who_has_no_known_key_is_told_how_to_send_one(key: str | None, tmp_path: Path) -> None:
    with pytest.raises(Unauthorized, match="Authorization: Bearer") as refusal:
        ring(f"alice {hash_key(ALICE)}", tmp_path=tmp_path).admit(key)
    assert not key or key not in str(refusal.value)


def test_every_key_is_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counted)
    keys = ring(f"alice {hash_key(ALICE)}", f"bob {hash_key(BOB)}", tmp_path=tmp_path)
    for key in (ALICE, BOB):
        keys.admit(key)
    assert len(compared) == 4, "the first match ends no comparison"


def test_a_rate_is_held_and_comes_back() -> None:
    now = 100.0
    keys = Keyring({hash_key(ALICE): Tenant("alice", rate=2.0)}, clock=lambda: now)
    assert [keys.admit(ALICE).name for _ in range(2)] == ["alice"] * 2
    with pytest.raises(RateLimited) as refusal:
        keys.admit(ALICE)
    assert refusal.value.retry_after == pytest.approx(0.5)
    now += 0.5
    assert keys.admit(ALICE).name == "alice"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("alice", "64 hex digits"),
        ("alice " + "g" * 64, "64 hex digits"),
        ("al/ice " + "0" * 64, "a name has"),
        (f"alice {'0' * 64} speed=3", "only rate="),
        (f"alice {'0' * 64} rate=0", "above 0"),
        (f"alice {'0' * 64} rate=inf", "above 0"),
        (f"alice {'0' * 64} concurrency=x", "concurrency|invalid"),
        (f"alice {'0' * 64}\nalice {'1' * 64}", "'alice' has the name"),
        (f"alice {'0' * 64}\nbob {'0' * 64}", "'alice' has the digest"),
    ],
)
def test_a_bad_line_is_named_without_what_it_holds(line: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match=words) as refusal:
        ring(line, tmp_path=tmp_path)
    assert "0" * 64 not in str(refusal.value)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(NotConfigured, match=r"nowhere\.txt"):
        Keyring.load(KeySettings(file="nowhere.txt"), inflight=1)

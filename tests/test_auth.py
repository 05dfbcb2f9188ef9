"""Keys: only hashes are kept, a header becomes a principal, and an open process stays on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synfarm.auth import Authenticator, KeyRecord, Principal, bind_is_allowed, load_keys, new_key
from synfarm.contracts.problems import ProblemError
from synfarm.settings import AuthSettings


def test_a_key_has_256_bits_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    key, record = new_key("ada", "admin")
    assert len(key) >= len("sf_") + 43
    assert key not in record.model_dump_json()
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([record.model_dump()]))
    assert load_keys(path) == [record]
    assert load_keys(None) == []
    principal = Authenticator(AuthSettings(), [record])(f"Bearer {key}")
    assert principal == Principal(owner="ada", role="admin", key=record.sha256[:16])


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic {key}", "{key}", "Bearer {key}x", "Bearer wrong"]
)
def test_anything_but_the_key_is_refused_with_a_hint(header: str | None) -> None:
    key, record = new_key("ada")
    with pytest.raises(ProblemError) as caught:
        Authenticator(AuthSettings(), [record])(header.format(key=key) if header else header)
    assert caught.value.problem.status == 401
    assert caught.value.problem.hint
    assert key not in caught.value.problem.model_dump_json()


def test_users_see_their_own_and_admins_all() -> None:
    assert Principal(owner="ada", role="user").may_see("ada")
    assert not Principal(owner="ada", role="user").may_see("bob")
    assert Principal(owner="ada", role="admin").may_see("bob")


def test_without_keys_only_loopback_unless_auth_is_off() -> None:
    record = KeyRecord(sha256="0" * 64, owner="ada")
    for host in ("127.0.0.1", "::1", "localhost"):
        assert bind_is_allowed(host, AuthSettings(), [])
    assert not bind_is_allowed("0.0.0.0", AuthSettings(), [])
    assert bind_is_allowed("0.0.0.0", AuthSettings(), [record])
    assert bind_is_allowed("0.0.0.0", AuthSettings(auth="off"), [])


def test_auth_off_ignores_headers() -> None:
    _, record = new_key("ada")
    assert Authenticator(AuthSettings(auth="off"), [record])(None).role == "admin"

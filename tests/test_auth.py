"""Keys: only hashes are kept, a header becomes a principal, and an open process stays on loopback."""

from __future__ import annotations

import json
import traceback
from pathlib import Path

import pytest

from synfarm.auth import Authenticator, KeyRecord, Principal, bind_is_allowed, load_keys, new_key
from synfarm.contracts.problems import ProblemError
from synfarm.settings import AuthSettings, SettingRefused
from synfarm.starting import tells_refused_settings


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
    ("text", "told"),
    [
        ('[{"owner": "ada", "sha256": "sf_SECRET"}]', "0.sha256: must have at least 64 characters"),
        ('[{"owner": "sf_SECRET!", "sha256": "' + "0" * 64 + '"}]', "0.owner: must"),
        ('[{"owner": "ada", "sha256": "' + "0" * 64 + '", "sf_SECRET": "x"}]', "0: Extra inputs are not permitted"),
        ('{"ada": "sf_SECRET"}', "the file: must be a valid array"),
        ("sf_SECRET", "the file: Invalid JSON"),
        (None, "the file cannot be read (No such file or directory)"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used_is_told_without_what_is_in_it(
    tmp_path: Path, text: str | None, told: str
) -> None:
    """One has taken the hash for the key itself, or has put a key where the file's name belongs."""
    path = tmp_path / "sf_SECRET.json"
    if text is not None:
        path.write_text(text)

    @tells_refused_settings
    def main() -> int:
        return len(load_keys(path))

    with pytest.raises(SettingRefused) as refused:
        load_keys(path)
    shown = "".join(traceback.format_exception(refused.value, chain=True)).replace(str(path), "")
    assert f"SYNFARM_AUTH_KEYS_FILE: {told}" in shown
    assert "SECRET" not in shown
    assert main() == 2


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

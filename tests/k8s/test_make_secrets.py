"""The Secrets that k8s/make_secrets.py makes are those that the manifests ask for, and what the processes take."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from synfarm.auth import Authenticator, load_keys
from synfarm.settings import AuthSettings, RedisSettings, StoreSettings

REPO = Path(__file__).resolve().parents[2]
OPTIONAL = {"synfarm-hf-token"}


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("make_secrets", REPO / "k8s" / "make_secrets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def made(script: Any, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, dict[str, str]], str]:
    assert script.main(["--owner", "alice", *arguments]) == 0
    told = capsys.readouterr()
    items = json.loads(told.out)["items"]
    assert {item["metadata"]["namespace"] for item in items} == {"synfarm"}
    return {item["metadata"]["name"]: item["stringData"] for item in items}, told.err


def test_what_manifests_name_is_made(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(path.read_text() for path in (REPO / "k8s").rglob("*.yaml"))
    named = set(re.findall(r"(?:secretRef: \{name|secretKeyRef: \{name|secretName|_SECRET, value): ([a-z0-9-]+)", text))
    assert "synfarm-store-trainer" in named, "the pattern still finds them"
    found, _ = made(script, capsys)
    assert named - OPTIONAL == found.keys()


def test_processes_take_the_values(
    script: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, told = made(script, capsys)
    keys = tmp_path / "keys.json"
    keys.write_text(found["synfarm-keys"]["keys.json"])
    key = told.split()[-1]
    who = Authenticator(AuthSettings(), load_keys(keys))(f"Bearer {key}")
    assert (who.owner, who.role) == ("alice", "admin")
    assert key not in json.dumps(found), "the cluster keeps its hash"
    for values in (found["synfarm-redis"], found["synfarm-store-render"]):
        for name, value in values.items():
            monkeypatch.setenv(name, value)
    assert StoreSettings().access_key.get_secret_value() == found["synfarm-store-render"][script.ACCESS]
    url = RedisSettings().url.get_secret_value()
    assert url == f"redis://:{found['synfarm-redis']['REDIS_PASSWORD']}@redis:6379/0"


def test_each_role_has_a_credential_and_a_policy_of_its_own(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = made(script, capsys)
    access = {role: found[name][script.ACCESS] for role, name in script.ROLES.items()}
    assert len(set(access.values())) == len(script.ROLES)
    config = json.loads(found["synfarm-seaweedfs"]["s3.json"])
    given = {one["name"]: one["credentials"][0]["accessKey"] for one in config["identities"]}
    assert given == access
    assert all(one["policyNames"] == [f"synfarm-{one['name']}"] for one in config["identities"])
    policies = {one["name"]: json.loads(one["content"]) for one in config["policies"]}
    assert policies.keys() == {f"synfarm-{role}" for role in script.ROLES}
    assert all(document["Statement"] for document in policies.values())


def test_two_runs_share_no_value(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = made(script, capsys)[0], made(script, capsys)[0]
    assert not {*first["synfarm-redis"].values()} & {*second["synfarm-redis"].values()}


def test_an_outside_store_keeps_its_own_credentials(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = made(script, capsys, "--store", "external")
    assert found.keys() == {"synfarm-keys", "synfarm-redis"}

"""What runs on a schedule: gc without a command line; and the bucket's own rules, which must spare the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from synfarm.contracts import layout
from synfarm.contracts.housekeeping import Collected
from synfarm.housekeeping.__main__ import main
from synfarm.settings import StoreSettings
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreDamaged, StoreError

DEPLOY = Path(__file__).parents[2] / "deploy"


def given(monkeypatch: pytest.MonkeyPatch, settings: StoreSettings, **more: str) -> None:
    told = {
        "ENDPOINT": settings.endpoint,
        "ACCESS_KEY": settings.access_key.get_secret_value(),
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "BUCKET": settings.bucket,
        "PREFIX": settings.prefix,
        **more,
    }
    for name, value in told.items():
        monkeypatch.setenv(f"SYNFARM_STORE_{name}", value)


def given_up_at() -> list[int]:
    """Exit codes after which the CronJob does not try again that night."""
    objects = yaml.safe_load_all((DEPLOY.parent / "k8s" / "base" / "housekeeping.yaml").read_text())
    (cron,) = (thing for thing in objects if thing["kind"] == "CronJob")
    rules = cron["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    (codes,) = (rule["onExitCodes"]["values"] for rule in rules if rule["action"] == "FailJob")
    found: list[int] = codes
    return found


@pytest.mark.integration
def test_one_sweep_of_a_real_store(
    store: ObjectStore,
    store_settings: StoreSettings,
    make_job: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_job(store).complete()
    given(monkeypatch, store_settings)
    for arguments in ([], ["--delete"]):
        assert main(arguments) == 0
        told = capsys.readouterr()
        found = Collected.from_bytes(told.out)
        assert "swept" in told.err
        assert (found.deleted, found.jobs, found.objects) == (bool(arguments), 1, 0)
    given(monkeypatch, store_settings, ENDPOINT="127.0.0.1:1", RETRIES="0")
    assert main([]) == 75
    given(monkeypatch, store_settings, SECRET_KEY="another one's")
    assert [main([])] == given_up_at()


@pytest.mark.parametrize("error", [StoreDamaged("cut short"), ObjectMissing("gone meanwhile")], ids=["cut", "gone"])
def test_what_may_pass_is_tried_again_that_night(monkeypatch: pytest.MonkeyPatch, error: StoreError) -> None:
    def broken(*_: Any, **__: Any) -> Collected:
        raise error

    for name, value in (("ENDPOINT", "127.0.0.1:1"), ("ACCESS_KEY", "access"), ("SECRET_KEY", "secret-key")):
        monkeypatch.setenv(f"SYNFARM_STORE_{name}", value)
    monkeypatch.setattr("synfarm.housekeeping.__main__.collect", broken)
    assert main([]) not in given_up_at()


@pytest.mark.parametrize("name", ["lifecycle.json", "lifecycle-minio.json"])
def test_no_rule_lets_a_living_object_expire_that_the_farm_reads(name: str) -> None:
    rules = json.loads((DEPLOY / name).read_text())["Rules"]
    expiring = {rule["Filter"]["Prefix"] for rule in rules if {"Days", "Date"} & rule.get("Expiration", {}).keys()}
    record = layout.idempotency("me", "POST /v1/jobs", "key")
    assert {record[: len(prefix)] for prefix in expiring} == expiring == {"idempotency/"}
    assert all("Transition" not in json.dumps(rule) for rule in rules), "a commit in an archive cannot be read"
    aborts = [rule for rule in rules if "AbortIncompleteMultipartUpload" in rule]
    # MinIO takes such a rule and drops it (minio/minio#19115), or refuses it alone (minio/minio#15681).
    assert len(aborts) == (0 if "minio" in name else 1)

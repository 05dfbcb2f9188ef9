"""A setting that cannot be used is named in one line, without its value: that may be a secret in the wrong place."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from synfarm.cli.exits import ExitCode, explain
from synfarm.settings import AuthSettings, RedisSettings, StoreSettings
from synfarm.starting import refused_settings, tells_refused_settings
from synfarm.storage.minio_store import MinioStore
from synfarm.storage.protocol import StoreRefused
from synfarm_caption_api.settings import LlmSettings

MARK = "s3cretMARK"
MODULES = (
    "synfarm.queue.lease",
    "synfarm.sdk.config",
    "synfarm.settings",
    "synfarm_caption_api.feeder.settings",
    "synfarm_caption_api.feeder.webhooks",
    "synfarm_caption_api.settings",
    "synfarm_llm_server.settings",
    "synfarm_render_worker.settings",
    "synfarm_trainer.launch.kubernetes.settings",
    "synfarm_trainer.settings",
    "synfarm_trainer.sinks.opening",
)


def kinds() -> list[type[BaseSettings]]:
    """All of ours, each once, in one order in every process of the tests."""
    found = [vars(importlib.import_module(name)) for name in MODULES]
    every = dict.fromkeys(kind for names in found for kind in names.values() if isinstance(kind, type))
    return [kind for kind in every if issubclass(kind, BaseSettings) and kind is not BaseSettings]


def test_every_module_with_settings_is_looked_at() -> None:
    root = Path(__file__).resolve().parents[1]
    files = [*(root / "src").rglob("*.py"), *(root / "services").rglob("*.py")]
    named = {file.stem for file in files if "(BaseSettings):" in file.read_text(encoding="utf-8")}
    assert named == {name.rpartition(".")[2] for name in MODULES}


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_no_refused_value_is_shown(kind: type[BaseSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    assert kind.model_config.get("hide_input_in_errors") is True
    prefix = str(kind.model_config["env_prefix"])
    # A set of devices and a model are told with their values: the reader must see what is wrong in them.
    for field in kind.model_fields.keys() - {"devices", "preload"}:
        for value in (f"!{MARK}", f"http://u:{MARK}/@:x"):
            monkeypatch.setenv(f"{prefix}{field}".upper(), value)
            try:
                kind()
            except (ValidationError, SettingsError) as error:
                shown = [*traceback.format_exception(error), str(refused_settings(error)), str(explain(error))]
                assert MARK not in "".join(shown), field
        monkeypatch.delenv(f"{prefix}{field}".upper())


@pytest.mark.parametrize("password", ["a/b", "a#b", "a?b", "1/b", "1#b", "1?b@c"])
def test_a_password_that_cuts_its_url_short_is_told_without_it(password: str) -> None:
    with pytest.raises(ValidationError, match="in a password write / as %2F") as told:
        RedisSettings.model_validate({"url": f"redis://:{password}@h:6379/0"})
    assert password not in str(told.value)


def test_addresses_that_hold_a_key_are_not_repeated() -> None:
    with pytest.raises(StoreRefused, match="must be host:port, got a user or key") as store:
        MinioStore(StoreSettings(endpoint=f"http://u:{MARK}@h:1"))
    with pytest.raises(ValidationError, match="is no base URL") as llm:
        LlmSettings(url=f"u:{MARK}@h:1")
    assert MARK not in f"{store.value}{llm.value}"


def test_a_process_ends_with_one_line_and_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "synfarm.storage"],
        env={"PYTHONPATH": ":".join(sys.path), "SYNFARM_STORE_POOL_SIZE": MARK},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    told = json.loads(done.stderr)
    assert told["error"].startswith("SYNFARM_STORE_POOL_SIZE: must be a valid integer")
    monkeypatch.setenv("SYNFARM_STORE_POOL_SIZE", MARK)
    with pytest.raises(ValidationError) as refused:
        StoreSettings()
    failure = explain(refused.value)
    assert failure is not None
    assert (failure.code, MARK in str(failure)) == (ExitCode.REFUSED, False)


def test_a_list_that_is_no_json_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNFARM_AUTH_HOSTS", f"{MARK}.example")
    with pytest.raises(SettingsError) as refused:
        AuthSettings()
    assert refused_settings(refused.value) == 'SYNFARM_AUTH_HOSTS: must be JSON, a list as in ["one", "two"]'


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ValidationError):
        tells_refused_settings(lambda: int(bool(_of_a_contract())))()
    assert refused_settings(ValueError("x")) is None


def _of_a_contract() -> object:
    from synfarm.contracts.jobs import JobRequest

    return JobRequest.model_validate({"captions": "x"})

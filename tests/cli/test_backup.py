"""`synfarm backup` and `restore` as a user calls them: on a real S3 server, to another prefix of it and to a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from synfarm.cli.app import app
from synfarm.contracts import layout
from synfarm.contracts.backups import Backups, RestoredList
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import open_store
from synfarm.storage.protocol import ObjectStore, StoreRefused

pytestmark = pytest.mark.integration
ABSENT = "01k" + "0" * 22 + "z"


def _jobs() -> Any:
    """The maker of jobs that the tests of the parts below use."""
    name = "tests_housekeeping_jobs"
    if name not in sys.modules:
        path = Path(__file__).parents[1] / "housekeeping" / "conftest.py"
        spec = spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture
def run(store_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    def invoke(*arguments: str, prefix: str = store_settings.prefix) -> Result:
        told = {
            "ENDPOINT": store_settings.endpoint,
            "ACCESS_KEY": store_settings.access_key.get_secret_value(),
            "SECRET_KEY": store_settings.secret_key.get_secret_value(),
            "BUCKET": store_settings.bucket,
            "PREFIX": prefix,
        }
        for name, value in told.items():
            monkeypatch.setenv(f"SYNFARM_STORE_{name}", value)
        return CliRunner().invoke(app, list(arguments))

    return invoke


def test_to_a_bucket_and_back_from_it(store: ObjectStore, store_settings: StoreSettings, run: Any) -> None:
    made = _jobs().Made(store).begin().complete(dead=[1])
    place = f"s3://{store_settings.bucket}/backup/{store_settings.prefix}"
    result = run("backup", "latest", "--to", place, "--json")
    assert result.exit_code == 0, result.output
    (head,) = Backups.from_bytes(result.stdout).items
    assert (head.id, head.kind, head.active) == (made.job, "job", False)
    for times in range(2):
        result = run("restore", place, "--json", prefix=f"{store_settings.prefix}/other")
        assert result.exit_code == 0, result.output
        (done,) = RestoredList.from_bytes(result.stdout).items
        assert (done.id, done.was_there) == (made.job, times == 1)
    result = run("verify", made.job, "--json", prefix=f"{store_settings.prefix}/other")
    assert json.loads(result.stdout)["findings_total"] == 0, result.output


def test_to_a_folder_and_what_is_told_when_it_goes_wrong(store: ObjectStore, run: Any, tmp_path: Path) -> None:
    made = _jobs().Made(store).begin()
    made.commit(0)
    place = str(tmp_path / "backup")
    result = run("backup", made.job, "--to", place)
    assert result.exit_code == 0, result.output
    assert f"job {made.job} goes on" in result.output
    result = run("restore", place)
    assert f"job {made.job} is in the store already" in " ".join(result.output.split())
    (tmp_path / "backup" / layout.job(made.job)).write_bytes(b"{}")
    result = run("restore", place, prefix="third")
    assert result.exit_code == 1
    assert "is not what was backed up" in " ".join(result.output.split())
    assert run("backup", ABSENT, "--to", place).exit_code == 4
    assert run("restore", str(tmp_path)).exit_code == 1


def test_restoring_from_a_mistyped_place_makes_nothing(store_settings: StoreSettings, run: Any, tmp_path: Path) -> None:
    result = run("restore", str(tmp_path / "bakcup"))
    assert result.exit_code == 2
    told = " ".join(result.output.split())
    assert f"restore: there is no folder {tmp_path}" in told
    assert "name the one that `synfarm backup` wrote to" in told
    assert list(tmp_path.iterdir()) == []
    result = run("restore", "s3://no-such-bucket/backup")
    assert result.exit_code == 2
    assert "restore: s3://no-such-bucket/backup cannot be used: there is no bucket" in " ".join(result.output.split())
    with pytest.raises(StoreRefused, match="no bucket"):
        open_store(store_settings.model_copy(update={"bucket": "no-such-bucket"}), make=False)

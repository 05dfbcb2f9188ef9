"""`verify`, `gc` and `export` as a user calls them: on a store that the environment names, and on a stack nearby."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from synfarm.cli.app import app
from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.housekeeping import Collected, ExportIndex, Verification
from synfarm.local.folder import Secrets, StackFolder
from synfarm.local.servers import LocalS3
from synfarm.local.state import StackState
from synfarm.settings import StoreSettings
from synfarm.storage.minio_store import MinioStore, open_store
from synfarm.storage.protocol import ObjectStore

pytestmark = pytest.mark.integration

ABSENT = "01k" + "0" * 22 + "z"
Run = Callable[..., Result]


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
def made(store: ObjectStore) -> Any:
    return _jobs().Made(store).begin().complete(dead=[1])


def environment(settings: StoreSettings) -> dict[str, str]:
    return {
        "SYNFARM_STORE_ENDPOINT": settings.endpoint,
        "SYNFARM_STORE_ACCESS_KEY": settings.access_key.get_secret_value(),
        "SYNFARM_STORE_SECRET_KEY": settings.secret_key.get_secret_value(),
        "SYNFARM_STORE_BUCKET": settings.bucket,
        "SYNFARM_STORE_PREFIX": settings.prefix,
    }


@pytest.fixture
def ran(run: Run, store_settings: StoreSettings) -> Run:
    """The command, told of the store by its environment."""

    def command(*arguments: str | Path, **more: str) -> Result:
        return run(*arguments, env={**environment(store_settings), **more})

    return command


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, with no stack in it."""
    monkeypatch.chdir(tmp_path)


def test_verify(ran: Run, made: Any) -> None:
    clean = ran("verify", "latest")
    assert clean.exit_code == 0
    assert "Nothing is wrong." in clean.stdout
    assert "14 captions planned = 8 with 16 images + 2 empty slots + 4 in 1 dead unit" in clean.stdout
    key = made.commits[2].shard.key
    made.store.delete(key)
    broken = ran("verify", made.job)
    assert broken.exit_code == 1
    assert f"unit 2: shard_missing\n    {key}\n" in broken.stdout
    assert "backup" in broken.stdout
    as_json = ran("verify", made.job, "--json")
    assert as_json.exit_code == 1
    assert [finding.unit for finding in Verification.from_bytes(as_json.stdout).findings] == [2]
    assert ran("verify", made.job, "--sample", "0.000001").exit_code == 0
    assert "a sample of 50 %" in ran("verify", made.job, "--sample", "0.5").stdout


def test_gc(ran: Run, made: Any) -> None:
    shown = ran("gc")
    assert shown.exit_code == 0
    assert "Nothing to free in 1 job." in shown.stdout
    assert ran("gc", made.job, "--delete").stdout.startswith("Freed: 0 objects of 1 job")
    found = Collected.from_bytes(ran("gc", "--json", "--after", made.job).stdout)
    assert (found.deleted, found.jobs, found.objects) == (False, 0, 0)


def test_gc_shows_before_it_deletes(ran: Run, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a store whose clock is two days on."""
    key = layout.shard(made.job, 0, "ab" * 32)
    made.store.put(key, b"x" * 2000)
    now = MinioStore.now
    monkeypatch.setattr(MinioStore, "now", lambda store: now(store) + timedelta(days=2))
    shown = ran("gc")
    assert f"{key} (2.0 kB): the commit of unit 0 names another tar" in shown.stdout
    assert "Nothing was deleted: --delete does it." in shown.stdout
    assert made.store.head(key) is not None
    assert "Freed: 1 object of 1 job, 2.0 kB" in ran("gc", "--delete").stdout
    assert made.store.head(key) is None
    assert ran("verify", made.job).exit_code == 0


def test_export(ran: Run, made: Any, tmp_path: Path) -> None:
    first = ran("export", made.job, "--to", tmp_path / "out", "--shard-size", "0.045")
    assert first.exit_code == 0, first.stderr
    assert "8 captions, 16 images" in first.stdout
    assert f"{tmp_path}/out/{made.job}-{{000000..000001}}.tar" in first.stdout
    again = ran("export", made.job, "--to", tmp_path / "out", "--shard-size", "0.045", "--json")
    index = ExportIndex.from_bytes((tmp_path / "out" / "index.json").read_bytes())
    assert json.loads(again.stdout) == json.loads(index.model_dump_json())
    bucket = ran("export", "latest", "--to", "s3://datasets/of-a-test", SYNFARM_EXPORT_REGION="us-east-1")
    assert bucket.exit_code == 0, bucket.stderr
    assert f"s3://datasets/of-a-test/{made.job}-{{000000..000002}}.tar" in bucket.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["verify", ABSENT], 4, "there is no job"),
        (["gc", ABSENT], 4, "there is no job"),
        (["export", ABSENT, "--to", "out"], 4, "there is no job"),
        (["verify", "latest"], 4, "there is no job"),
        (["verify", "x"], 2, "no job id"),
        (["gc", "--after", "x"], 2, "no job id"),
        (["verify", ABSENT, "--sample", "0"], 2, "--sample"),
        (["verify", ABSENT, "--sample", "2"], 2, "--sample"),
        (["gc", "--older-than", "0.5"], 2, "--older-than"),
        (["export", ABSENT, "--to", "gs://b/x"], 2, "no s3 url"),
        (["export", ABSENT, "--to", "a/b/c"], 2, "there is no folder"),
    ],
)
def test_bad_input(
    ran: Run,
    store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ran(*arguments)
    assert done.exit_code == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_stores(
    run: Run,
    ran: Run,
    store: ObjectStore,
    store_settings: StoreSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    none = run("verify", ABSENT)
    assert none.exit_code == 3
    assert "SYNFARM_STORE_ENDPOINT" in none.stderr
    away = ran("verify", ABSENT, SYNFARM_STORE_ENDPOINT="127.0.0.1:9", SYNFARM_STORE_RETRIES="0")
    assert (away.exit_code, "does not answer" in away.stderr) == (3, True)
    refused = ran("verify", ABSENT, SYNFARM_STORE_SECRET_KEY="wrong")
    assert (refused.exit_code, "refuses" in refused.stderr) == (2, True)
    other = ran("gc", SYNFARM_STORE_BUCKET="no-such-bucket")
    assert other.exit_code == 2
    assert "no-such-bucket" not in [info.key for info in store.list("")]
    crooked = ran("gc", SYNFARM_STORE_POOL_SIZE="many")
    assert (crooked.exit_code, "SYNFARM_STORE_POOL_SIZE" in crooked.stderr) == (2, True)
    absent = ran("gc", "--data-dir", tmp_path / "none")
    assert (absent.exit_code, "no stack runs" in absent.stderr) == (3, True)


def test_a_destination_that_cannot_be_written(ran: Run, made: Any) -> None:
    done = ran("export", made.job, "--to", "/proc/export")
    assert done.exit_code in {1, 2}
    assert "/proc/export" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def demo_folder(s3_server: LocalS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """What a running demo says of its store, in the folder where commands look for it; its store."""
    monkeypatch.chdir(tmp_path)
    bucket = "demo-of-a-test"
    keys = {"s3_access_key": s3_server.access_key, "s3_secret_key": s3_server.secret_key}
    with StackFolder(tmp_path / "demo") as folder:
        (folder.root / "secrets.json").write_bytes(Secrets.fresh().model_copy(update=keys).to_bytes())
        folder.write_state(
            StackState(
                pid=1,
                api_url="http://127.0.0.1:1",
                trainer_url="http://127.0.0.1:1",
                llm_url="http://127.0.0.1:1",
                redis_port=1,
                store_endpoint=s3_server.endpoint,
                bucket=bucket,
                key_file=folder.key_file,
                logs=folder.logs,
                started_at=utc_now(),
            )
        )
        yield open_store(
            StoreSettings(
                endpoint=s3_server.endpoint,
                access_key=SecretStr(s3_server.access_key),
                secret_key=SecretStr(s3_server.secret_key),
                bucket=bucket,
            )
        )


def test_the_stack_nearby_is_found_without_any_environment(run: Run, demo_folder: ObjectStore, tmp_path: Path) -> None:
    made = _jobs().Made(demo_folder).begin().complete()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").iterdir()}
    assert run("verify", "latest").exit_code == 0
    assert run("gc").exit_code == 0
    assert run("export", made.job, "--to", "out").exit_code == 0
    assert (tmp_path / "out" / "index.json").exists()
    named = {"SYNFARM_STORE_ENDPOINT": "127.0.0.1:9", "SYNFARM_STORE_PREFIX": "elsewhere"}
    assert run("verify", made.job, "--data-dir", "demo", env=named).exit_code == 0, "what is named goes first"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").iterdir()} == before


@pytest.mark.parametrize("number", ["nan", "inf", "1e9", "-1"])
@pytest.mark.parametrize(
    "command",
    [("verify", "latest", "--sample"), ("gc", "--older-than"), ("export", "latest", "--to", "x", "--shard-size")],
    ids=lambda command: command[0],
)
def test_numbers_out_of_bounds_are_refused(command: tuple[str, ...], number: str) -> None:
    done = CliRunner().invoke(app, [*command, number])
    assert done.exit_code == 2, done.output
    assert command[-1] in done.stderr

"""Which farm a command talks to, and with which key: options, then the environment, then a living stack."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from synfarm.cli.exits import CommandFailed
from synfarm.cli.farm import Farm
from synfarm.local.folder import StackFolder
from synfarm.local.state import StackState


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("API_URL", "TRAINER_URL", "API_KEY", "API_KEY_FILE", "DATA_DIR"):
        monkeypatch.delenv(f"SYNFARM_{name}", raising=False)


def running(folder: StackFolder, port: int) -> str:
    """Make the folder look like that of a running stack; its key."""
    folder.write_state(
        StackState(
            pid=1,
            api_url=f"http://127.0.0.1:{port}",
            trainer_url=f"http://127.0.0.1:{port + 1}",
            llm_url="http://x",
            redis_port=4,
            store_endpoint="x",
            bucket="synfarm",
            key_file=folder.key_file,
            logs=folder.logs,
            started_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    )
    return folder.secrets().api_key


def test_a_stack_nearby_is_found_with_its_key(tmp_path: Path) -> None:
    for name in ("synfarm-data", "demo"):
        with StackFolder(tmp_path / name) as folder:
            key = running(folder, 1000)
            found = Farm().address()
            assert (found.api_url, found.trainer_url, found.key) == (
                "http://127.0.0.1:1000",
                "http://127.0.0.1:1001",
                key,
            )
            assert found.folder == tmp_path / name
            assert key not in repr(found)


def test_options_before_environment_before_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StackFolder(tmp_path / "demo") as folder:
        stack_key = running(folder, 1000)
        monkeypatch.setenv("SYNFARM_API_URL", "http://environment")
        monkeypatch.setenv("SYNFARM_API_KEY", "environments")
        farm = Farm().address()
        assert (farm.api_url, farm.trainer_url, farm.key) == ("http://environment", None, "environments")
        farm = Farm(url="http://option", key="options").address()
        assert (farm.api_url, farm.key, farm.source) == ("http://option", "options", "--url")
        # A folder that is named is an option too; and a key of the environment is not meant for its stack.
        farm = Farm(data_dir=tmp_path / "demo").address()
        assert (farm.api_url, farm.key) == ("http://127.0.0.1:1000", stack_key)
        assert Farm(data_dir=tmp_path / "demo", key="mine").address().key == "mine"


def test_a_stacks_key_is_sent_to_that_stack_alone(tmp_path: Path) -> None:
    with StackFolder(tmp_path / "demo") as folder:
        running(folder, 1000)
        assert Farm(url="http://elsewhere").address().key is None


def test_keys_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("sf_abc\n")
    assert Farm(url="http://x", key_file=tmp_path / "key").address().key == "sf_abc"
    monkeypatch.setenv("SYNFARM_API_KEY_FILE", str(tmp_path / "key"))
    assert Farm(url="http://x").address().key == "sf_abc"
    (tmp_path / "key").write_text("")
    with pytest.raises(CommandFailed, match="a key is one word"):
        Farm(url="http://x").address()


def test_an_api_that_is_not_needed_need_not_be_named() -> None:
    with Farm(url="http://127.0.0.1:1/").client("api") as client:
        assert client is not None
    for needs in ("trainer", "both"):
        with (
            pytest.raises(CommandFailed, match="--trainer-url or SYNFARM_TRAINER_URL"),
            Farm(url="http://x").client(needs),
        ):  # type: ignore[arg-type]
            pass

"""`synfarm up`: what it tells can be used as it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from synfarm.cli.up import tell_addresses
from synfarm.contracts.base import utc_now
from synfarm.local.folder import StackFolder
from synfarm.local.state import StackState


def test_the_line_for_curl_works_wherever_the_folder_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with StackFolder(tmp_path / f"my far{'a' * 200}way farm") as folder:
        key = folder.secrets().api_key
        state = StackState(
            pid=1,
            api_url="http://127.0.0.1:1",
            trainer_url="http://127.0.0.1:2",
            llm_url="http://x",
            redis_port=4,
            store_endpoint="x",
            bucket="synfarm",
            key_file=folder.key_file,
            logs=folder.logs,
            started_at=utc_now(),
        )
        tell_addresses(state)
        (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("for curl"))
        command = line.removeprefix("for curl").strip()
        done = subprocess.run(["sh", "-c", f'{command}; printf %s "$KEY"'], capture_output=True, text=True, check=True)
    assert done.stdout == key

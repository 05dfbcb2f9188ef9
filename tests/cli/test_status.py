"""`synfarm status` of a farm that is not well: what is known is told all the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from synfarm.cli.stack_status import StackStatus
from synfarm.contracts.base import utc_now
from synfarm.contracts.problems import Problem
from synfarm.local.folder import StackFolder
from synfarm.local.state import ProcessEntry, ProcessList, StackState

AWAY = Problem(title="store away", status=503, detail="The object store does not answer.", code="store_away")


class _StoreAway(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(AWAY.status)
        self.end_headers()
        self.wfile.write(AWAY.to_bytes())

    def log_message(self, format: str, *_: object) -> None: ...


@pytest.fixture
def without_store() -> Iterator[str]:
    """The address of an API whose store is away."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _StoreAway)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_processes_are_told_while_the_apis_answer_with_errors(run: Any, tmp_path: Path, without_store: str) -> None:
    with StackFolder(tmp_path / "demo") as folder:
        folder.secrets()
        state = StackState(
            pid=1,
            api_url=without_store,
            trainer_url=without_store,
            llm_url="http://x",
            redis_port=4,
            store_endpoint="x",
            bucket="synfarm",
            key_file=folder.key_file,
            logs=folder.logs,
            started_at=utc_now(),
        )
        folder.write_state(state)
        dead = ProcessEntry(name="s3", state="died (exit code 1)", since=utc_now())
        folder.write_processes(ProcessList(processes=(dead,)))
        done = run("status", "--json", "--data-dir", folder.root)
    assert done.exit_code == 0, done.output
    told = StackStatus.from_bytes(done.stdout)
    assert told.processes == (dead,)
    assert told.problem is not None
    assert "object store does not answer" in told.problem

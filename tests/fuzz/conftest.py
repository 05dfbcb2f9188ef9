"""The API as it is deployed, on a port, over a store in memory and a real Redis, with jobs in every state."""

from __future__ import annotations

import dataclasses
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from synfarm.auth import new_key
from synfarm.contracts import layout
from synfarm.local.servers import LocalRedis
from synfarm.storage.memory import MemoryStore
from synfarm_caption_api.app import create_app
from synfarm_caption_api.settings import ApiSettings
from synfarm_caption_api.text_generator import FakeGenerator


@dataclasses.dataclass(frozen=True)
class Site:
    """Where the API is, and who asks."""

    url: str
    key: str
    store: MemoryStore
    jobs: dict[str, str]
    """What is special about a job -> its id."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@pytest.fixture(scope="session")
def site(redis_server: LocalRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    key, record = new_key("ada")
    other, other_record = new_key("bob")
    file = Path(tmp_path_factory.mktemp("keys")) / "keys.json"
    file.write_text(json.dumps([record.model_dump(), other_record.model_dump()]))
    environment = {
        "SYNFARM_AUTH_KEYS_FILE": str(file),
        "SYNFARM_REDIS_URL": redis_server.url(database=0),
        "SYNFARM_REDIS_NAMESPACE": "fuzz",
    }
    store = MemoryStore()
    listener = socket.create_server(("127.0.0.1", 0))
    # Only while it starts: this fixture lives as long as the session, and other tests start servers without keys.
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        app = create_app(ApiSettings(feeder=False, heartbeat_seconds=1), store)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
    # A text generator that always answers: what the API does without one is for other tests.
    app.state.services = dataclasses.replace(app.state.services, generator=FakeGenerator())
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield Site(url, key, store, _jobs(url, key, other, store))
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()


def _jobs(url: str, key: str, other: str, store: MemoryStore) -> dict[str, str]:
    def make(bearer: str) -> str:
        body = {"concepts": ["dog", "cat"], "captions": 40}
        answer = httpx.post(f"{url}/v1/jobs", json=body, headers={"Authorization": f"Bearer {bearer}"})
        return str(answer.json()["job"])

    jobs = {name: make(key) for name in ("running", "completed", "untouched", "failed", "deleted")}
    jobs |= {"another owner's": make(other), "unknown": "01k" + "0" * 23}
    for name in ("completed", "untouched", "failed"):
        ended = {
            "job": jobs[name],
            "generation": 1,
            "state": "failed" if name == "failed" else "completed",
            "planned": 40,
            "counts": {"units_committed": 5 - (name == "failed"), "units_dead": int(name == "failed")},
            "parts": [],
            "manifest_sha256": "0" * 64,
            "ended_at": "2026-01-01T00:00:00Z",
        }
        store.create(layout.ended(jobs[name], 1), json.dumps(ended).encode())
        store.delete(layout.active(jobs[name]))
    httpx.delete(f"{url}/v1/jobs/{jobs['deleted']}", headers={"Authorization": f"Bearer {key}"})
    return jobs

"""The real processes, once: a job posted over HTTP comes out as captions in a real store, ready to be rendered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from synfarm.contracts import layout
from synfarm.contracts.captions import read_jsonl
from synfarm.local.ports import HeldPorts
from synfarm.settings import StoreSettings
from synfarm.storage.protocol import ObjectStore

pytestmark = pytest.mark.integration

_STUB = Path(__file__).parents[1] / "chaos" / "stub_llm.py"


@pytest.fixture
def stack(
    redis_url: str, store_settings: StoreSettings, tmp_path: Path
) -> Iterator[tuple[str, str, list[subprocess.Popen[bytes]]]]:
    """The API's address, the caption worker's, and [stub LLM, API, caption worker]."""
    held = HeldPorts(3)
    llm_port, api_port, worker_port = held.numbers
    environment = {
        **os.environ,
        "SYNFARM_REDIS_URL": redis_url,
        "SYNFARM_STORE_ENDPOINT": store_settings.endpoint,
        "SYNFARM_STORE_ACCESS_KEY": store_settings.access_key.get_secret_value(),
        "SYNFARM_STORE_SECRET_KEY": store_settings.secret_key.get_secret_value(),
        "SYNFARM_STORE_BUCKET": store_settings.bucket,
        "SYNFARM_STORE_PREFIX": store_settings.prefix,
        "SYNFARM_CAPTION_PORT": str(api_port),
        "SYNFARM_CAPTION_WORKER_PORT": str(worker_port),
        "SYNFARM_CAPTION_LLM_URL": f"http://127.0.0.1:{llm_port}",
        "SYNFARM_FEEDER_PASS_SECONDS": "0.1",
        "OMP_NUM_THREADS": "1",
    }
    commands = [
        [str(_STUB), "--port", str(llm_port)],
        ["-m", "synfarm_caption_api"],
        ["-m", "synfarm_caption_api.worker"],
    ]
    children: list[subprocess.Popen[bytes]] = []
    for number, command in enumerate(commands):
        with (tmp_path / f"{number}.log").open("wb") as log:
            children.append(subprocess.Popen([sys.executable, *command], env=environment, stdout=log, stderr=log))
    yield f"http://127.0.0.1:{api_port}", f"http://127.0.0.1:{worker_port}", children
    for child in children:
        child.kill()
        child.wait()


def test_a_posted_job_becomes_captions_and_both_processes_stop_when_told(
    stack: tuple[str, str, list[subprocess.Popen[bytes]]], store: ObjectStore, redis_url: str, tmp_path: Path
) -> None:
    url, worker_url, children = stack

    def logs() -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted(tmp_path.glob("*.log")))

    with httpx.Client(base_url=url, timeout=10) as client:
        ready = _until(lambda: client.get("/readyz").json(), logs)
        assert all(part["ok"] for part in ready["dependencies"].values()), ready
        _until(lambda: client.get("/v1/workers").json()["items"] or None, logs)
        job = client.post("/v1/jobs", json={"concepts": ["dog", "fire truck"], "captions": 40}).json()["job"]
        view = _until(lambda: (v := client.get(f"/v1/jobs/{job}").json())["captions_written"] >= 38 and v, logs)
        captions = client.get(f"/v1/jobs/{job}/captions").json()["items"]
    assert [item["index"] for item in captions] == list(range(40))
    assert view["state"] == "running"
    assert view["draws"] >= 40
    records = read_jsonl(store.get(layout.captions(job, 4)))
    assert all(record.text and ("dog" in record.text or "fire truck" in record.text) for record in records)
    with Redis.from_url(redis_url) as redis:
        assert redis.llen("synfarm:queue:render.collage-s.normal") == 5
    assert 'synfarm_work_units{serves="render"} 5.0' in httpx.get(f"{url}/metrics").text
    assert httpx.get(f"{worker_url}/healthz").json()["status"] == "ok"
    told = httpx.get(f"{worker_url}/readyz").json()
    assert (told["status"], told["missing"]) == ("ready", {})
    done = 'synfarm_caption_units_total{outcome="done"} 5.0'
    _until(lambda: done in httpx.get(f"{worker_url}/metrics").text, logs)
    for child in children[1:]:
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=30) in {0, -signal.SIGTERM}, logs()
    assert "minioadmin" not in logs()


def _until(ask: Callable[[], Any], logs: Callable[[], str], seconds: float = 60) -> Any:
    """What ``ask`` says once it says something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if answer := ask():
                return answer
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(logs())

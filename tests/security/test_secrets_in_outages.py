"""Store, Redis and language model refuse, fail, go away under a farm at work: no answer, log or object has a secret."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from redis import Redis
from redis.exceptions import RedisError
from tests.fault_proxy import Exchange, Fault
from tests.security.role_farm import RoleFarm, role_farm

from synfarm.contracts.jobs import JobRequest
from synfarm.storage.minio_store import MinioStore

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]

LLM_KEY, HUB_KEY = "sk-marked/LLM+key", "hf_markedHubKey"
METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
OPEN = ("/healthz", "/readyz", "/metrics")
API = ("/v1/jobs", "/v1/workers", "/v1/concept-sets", "/ui/", "/ui/workers", "/ui/runs")
TRAINER = ("/v1/runs", "/v1/presets")


class Refusing:
    """A language-model server that takes no key and repeats the one it got."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                body = json.dumps({"error": f"Incorrect API key provided: {self.headers['Authorization']}"}).encode()
                self.send_response(401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def llm() -> Iterator[Refusing]:
    made = Refusing()
    yield made
    made.close()


def fails(status: int) -> Fault:
    """A store that refuses and repeats all that it was told of who asks."""

    def answer(exchange: Exchange) -> None:
        told = "; ".join(f"{name}: {value}" for name, value in exchange.handler.headers.items())
        body = f"<Error><Code>AccessDenied</Code><Message>{told}</Message></Error>".encode()
        exchange.answer((status, [("Content-Type", "application/xml")], body))

    return answer


def hangs_up(exchange: Exchange) -> None:
    exchange.hang_up(reset=True)


async def ask(farm: RoleFarm, job: str, answers: dict[str, str]) -> None:
    """Every kind of route, by whoever has a key and whoever has none."""
    config = farm.config
    known = json.loads((farm.folder / "secrets.json").read_text())
    paths = [f"{config.api_url}{path}" for path in (*OPEN, *API, f"/v1/jobs/{job}", f"/v1/jobs/{job}/captions")]
    paths += [f"{config.trainer_url}{path}" for path in (*OPEN, *TRAINER)]
    sent: dict[str, Any] = {
        f"{config.api_url}/v1/jobs": {"concepts": ["dog"], "captions": 8},
        f"{config.api_url}/v1/captions": {"concepts": ["dog"]},
        f"{config.trainer_url}/v1/runs": {"jobs": [job]},
    }
    async with httpx.AsyncClient(timeout=120) as client:

        async def tell(method: str, path: str, headers: dict[str, str], body: Any) -> None:
            try:
                answer = await client.request(method, path, headers=headers, json=body)
            except httpx.TransportError as error:  # a process that its supervisor starts again
                answers[f"no answer, {method} {path} {len(answers)}"] = repr(error)
                return
            answers[f"{answer.status_code} {method} {path} {len(answers)}"] = f"{answer.headers} {answer.text}"

        for headers in ({}, {"Authorization": f"Bearer {known['api_key']}"}, {"Authorization": f"Bearer {HUB_KEY}"}):
            for path in paths:
                await tell("GET", path, headers, None)
            for path, body in sent.items():
                await tell("POST", path, headers, body)


def forms(secret: str) -> set[bytes]:
    """As it is, in a URL, in Basic's and other base64."""
    plain = {secret, quote(secret, safe="")}
    coded = {b64encode(f"{before}{secret}".encode()).rstrip(b"=")[:-1] for before in ("", ":", "default:")}
    return {form.encode() for form in plain} | coded


async def test_no_secret_shows_when_something_is_away(tmp_path: Path, llm: Refusing) -> None:
    extra = {
        "SYNFARM_CAPTION_LLM_URL": llm.url,
        "SYNFARM_CAPTION_LLM_TOKEN": LLM_KEY,
        "SYNFARM_CAPTION_LLM_AWAY_SECONDS": "0.2",
        "SYNFARM_STORE_RETRIES": "0",
        "SYNFARM_FEEDER_PASS_SECONDS": "0.2",
        "HF_TOKEN": HUB_KEY,
        "OMP_NUM_THREADS": "1",
    }
    answers: dict[str, str] = {}
    async with role_farm(tmp_path / "farm", extra=extra) as farm:
        known = json.loads((farm.folder / "secrets.json").read_text())
        job = (await farm.client.jobs.submit(JobRequest.model_validate({"concepts": ["dog"], "captions": 8}))).job
        async with asyncio.timeout(300):
            while (view := await farm.client.jobs.get(job)).stalled is None:  # noqa: ASYNC110 - a process of its own
                await asyncio.sleep(0.2)
        stalled = view.stalled
        await ask(farm, job, answers)
        for fault in (fails(403), fails(500), hangs_up):
            for proxy in farm.proxies.values():
                proxy.always = dict.fromkeys(METHODS, fault)
            await ask(farm, job, answers)
        for role, proxy in farm.proxies.items():
            proxy.always = dict.fromkeys(METHODS, farm.notes[role].note)
        with Redis.from_url(farm.redis_url) as redis, contextlib.suppress(RedisError):
            os.kill(redis.info("server")["process_id"], signal.SIGKILL)
        await ask(farm, job, answers)
        store = MinioStore(farm.settings["admin"])
        seen = {f"object {info.key}": store.get(info.key) for info in store.list("")}
    seen |= {f"log {log.name}": log.read_bytes() for log in (farm.folder / "logs").iterdir()}
    seen |= {name: text.encode() for name, text in answers.items()}

    secrets = [LLM_KEY, HUB_KEY, known["redis_password"], known["api_key"]]
    secrets += [of.secret_key.get_secret_value() for of in farm.settings.values()]
    shown = {name for name, data in seen.items() for secret in secrets if any(form in data for form in forms(secret))}
    assert shown == set()
    assert "(our key)" in stalled, "the server's words are told without it"
    assert {name[:3] for name in answers} >= {"200", "401", "503"}
    assert any(b"part_away" in data for name, data in seen.items() if name.startswith("log"))

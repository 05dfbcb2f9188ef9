"""Webhooks: signed as the standard says, tried for a day, lost by no kill, never sent inwards."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.webhooks import Delivery, Notice, Webhook
from synfarm.queue.unit import EnvironmentFault
from synfarm.storage.memory import MemoryStore
from synfarm.storage.protocol import StoreUnavailable
from synfarm_caption_api.feeder.webhooks import WebhookSender, WebhookSettings, is_public

pytestmark = pytest.mark.integration
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
JOB = "01k" + "0" * 23
INNER = WebhookSettings(
    allow_private=True, sweep_seconds=0.01, first_delay_seconds=0.01, longest_delay_seconds=0.05, timeout_seconds=2
)


class Receiver:
    """A server that answers as told and keeps what it got."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status = outer.answers.pop(0) if outer.answers else 204
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"http://127.0.0.1:{outer.port}/inside")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Silence."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def sending() -> Iterator[Callable[..., WebhookSender]]:
    made: list[WebhookSender] = []

    def build(store: MemoryStore, settings: WebhookSettings = INNER, **more: Any) -> WebhookSender:
        made.append(WebhookSender(store, settings, **more))
        return made[-1]

    yield build
    for sender in made:
        sender.close()


def wait(sender: WebhookSender, store: MemoryStore, seconds: float = 10) -> Delivery:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sender.tick()
        if list(store.list(f"jobs/{JOB}/webhooks/")) and not list(store.list(layout.notices_prefix())):
            return Delivery.from_bytes(store.get(layout.delivery(JOB, "ended-1")))
        time.sleep(0.01)
    raise AssertionError("not settled")


def due(store: MemoryStore, url: str, *, secret: str | None = SECRET, age: timedelta = timedelta()) -> None:
    store.create(layout.webhook(JOB), Webhook(url=url, secret=secret).to_bytes())
    notice = Notice(job=JOB, event="ended-1", body={"type": "job.ended", "data": {"job": JOB}}, at=utc_now() - age)
    store.create(layout.notice(JOB, "ended-1"), notice.to_bytes())


def test_a_call_is_signed_so_that_any_library_believes_it(receiver: Receiver, sending: Any) -> None:
    store = MemoryStore()
    due(store, f"http://localhost:{receiver.port}/hook?a=b")
    assert wait(sending(store), store).status == 204
    headers, body = receiver.got[0]
    assert Verifier(SECRET).verify(body, headers)["data"]["job"] == JOB
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["host"] == f"localhost:{receiver.port}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60


def test_it_is_tried_again_with_the_same_id_until_it_goes_through(receiver: Receiver, sending: Any) -> None:
    store = MemoryStore()
    receiver.answers = [500, 429, 404, 302]
    due(store, f"http://127.0.0.1:{receiver.port}/", secret=None)
    assert wait(sending(store), store).sent
    assert len(receiver.got) == 5
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {f"msg_{JOB}_ended-1"}
    assert not any("webhook-signature" in headers for headers, _ in receiver.got)


def test_after_a_day_it_is_given_up_with_the_reason(receiver: Receiver, sending: Any) -> None:
    store = MemoryStore()
    receiver.answers = [503] * 9
    due(store, f"http://127.0.0.1:{receiver.port}/", age=timedelta(hours=25))
    gone = wait(sending(store), store)
    assert (gone.sent, gone.status, len(receiver.got)) == (False, 503, 1)
    assert "503" in str(gone.reason)


def test_a_kill_between_call_and_note_repeats_the_call_and_loses_none(receiver: Receiver, sending: Any) -> None:
    store = MemoryStore()
    due(store, f"http://127.0.0.1:{receiver.port}/")

    def fall(operation: str, key: str) -> None:
        if operation == "create" and "/webhooks/" in key:
            raise StoreUnavailable(key)

    store.fault = fall
    first = sending(store)
    first.tick()
    until = time.monotonic() + 10
    while not receiver.got and time.monotonic() < until:
        time.sleep(0.01)
    first.close()
    assert list(store.list(layout.notices_prefix()))
    store.fault = None
    assert wait(sending(store), store).sent
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.8", "0.0.0.0"])
def test_no_inner_address_is_called(receiver: Receiver, sending: Any, host: str) -> None:
    store = MemoryStore()
    due(store, f"http://{host}:{receiver.port}/")
    gone = wait(sending(store, INNER.model_copy(update={"allow_private": False})), store)
    assert (gone.sent, receiver.got) == (False, [])
    assert "SYNFARM_WEBHOOK_ALLOW_PRIVATE" in str(gone.reason)


def test_a_name_that_also_has_an_inner_address_is_refused(receiver: Receiver, sending: Any) -> None:
    store = MemoryStore()
    due(store, f"http://rebound.example:{receiver.port}/")
    closed = INNER.model_copy(update={"allow_private": False})
    assert not wait(sending(store, closed, resolve=lambda host, port: ["8.8.8.8", "127.0.0.1"]), store).sent
    assert receiver.got == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.1.2.3", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:0a00:0001::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
    ],
)
def test_what_is_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_the_end_of_a_job_is_told_before_it_can_be_forgotten(farm: Any) -> None:
    spec = farm.submit()
    farm.store.create(layout.webhook(spec.job), Webhook(url="https://example.org/hook").to_bytes())
    silent = farm.submit()

    def fall(operation: str, key: str) -> None:
        if operation == "delete" and key == layout.active(spec.job):
            farm.store.fault = None
            raise StoreUnavailable(key)

    farm.store.fault = fall
    with pytest.raises(StoreUnavailable):
        farm.finish(spec)
    assert [info.key for info in farm.store.list(layout.notices_prefix())] == [layout.notice(spec.job, "ended-1")]
    farm.finish(spec)
    farm.finish(silent)
    (info,) = farm.store.list(layout.notices_prefix())
    body = json.loads(farm.store.get(info.key))["body"]
    assert (body["type"], body["data"]["state"], body["data"]["counts"]["units_committed"]) == (
        "job.ended", "completed", 10,
    )  # fmt: skip


def test_a_stall_is_told_after_a_minute_and_once(farm: Any) -> None:
    def away(*_: object) -> None:
        raise EnvironmentFault("the LLM does not answer")

    farm.work = dict.fromkeys(farm.work, away)
    spec = farm.submit()
    farm.store.create(layout.webhook(spec.job), Webhook(url="https://example.org/hook").to_bytes())
    for passes, told in ((20, 0), (100, 1)):
        for _ in range(passes):
            farm.tick()
            farm.work_off()
        notices = [Notice.from_bytes(farm.store.get(i.key)) for i in farm.store.list(layout.notices_prefix())]
        assert len(notices) == told
    assert "the LLM does not answer" in str(notices[0].body["data"])

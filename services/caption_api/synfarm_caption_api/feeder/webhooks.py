"""Sends what webhooks are to be told, beside the passes: signed, retried for a day, never to an inner address."""

from __future__ import annotations

import ipaddress
import json
import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from standardwebhooks import Webhook as Signer

from synfarm.contracts import layout
from synfarm.contracts.base import utc_now
from synfarm.contracts.webhooks import Delivery, Notice, Webhook
from synfarm.storage.protocol import ObjectMissing, ObjectStore, StoreError
from synfarm.telemetry import get_logger
from synfarm_caption_api.llm.pauses import full_jitter

__all__ = ["WebhookSender", "WebhookSettings"]

_log = get_logger(__name__)
_SWEPT = 1000
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
Resolve = Callable[[str, int], list[str]]


class WebhookSettings(BaseSettings):
    """``SYNFARM_WEBHOOK_*``. Times in seconds."""

    model_config = SettingsConfigDict(env_prefix="SYNFARM_WEBHOOK_", frozen=True, hide_input_in_errors=True)

    allow_private: bool = False
    """Also call addresses that only this machine or network reaches. Off, a user could reach what is behind it."""
    sweep_seconds: float = Field(default=2.0, gt=0)
    timeout_seconds: float = Field(default=10.0, gt=0)
    first_delay_seconds: float = Field(default=5.0, gt=0)
    longest_delay_seconds: float = Field(default=3600.0, gt=0)
    give_up_seconds: float = Field(default=86_400.0, gt=0)
    """A call that has not gone through for this long is given up."""
    at_once: int = Field(default=8, ge=1)


class _Forbidden(Exception):
    """The address must not be called from here."""


def _addresses(host: str, port: int) -> list[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def is_public(address: str) -> bool:
    """Whether an address is one of the internet, however it is written."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip.sixtofour is not None or ip.teredo is not None or ip in _NAT64:
            return False  # ways into an IPv4 network that nobody checks
    return ip.is_global and not ip.is_multicast


class WebhookSender:
    """Works off the notices in the store. What it remembers is only when to try again."""

    def __init__(self, store: ObjectStore, settings: WebhookSettings, *, resolve: Resolve = _addresses) -> None:
        self._store, self._settings, self._resolve = store, settings, resolve
        self._tries: Counter[str] = Counter()
        self._next: dict[str, float] = {}
        self._swept_at = float("-inf")
        self._busy: dict[str, Future[None]] = {}
        self._sweeping: Future[None] | None = None
        self._threads = ThreadPoolExecutor(settings.at_once + 1, thread_name_prefix="webhook")
        # No proxy from the environment: it would be asked for addresses that were not checked.
        self._http = httpx.Client(timeout=settings.timeout_seconds, follow_redirects=False, trust_env=False)

    def tick(self) -> None:
        """Begin a sweep if it is time for one; returns at once."""
        if self._sweeping is not None and not self._sweeping.done():
            return
        if time.monotonic() - self._swept_at >= self._settings.sweep_seconds:
            self._swept_at = time.monotonic()
            self._sweeping = self._threads.submit(self._sweep)

    def close(self) -> None:
        """Stop; what was not sent is found by the next leader."""
        self._threads.shutdown(cancel_futures=True)
        self._http.close()

    def _sweep(self) -> None:
        try:
            listed = [info.key for info in self._store.list(layout.notices_prefix(), limit=_SWEPT)]
        except StoreError as error:
            _log.warning("notices_not_listed", error=str(error))
            return
        self._busy = {key: work for key, work in self._busy.items() if not work.done()}
        for memory in (self._next, self._tries):
            for key in memory.keys() - set(listed):
                del memory[key]
        now = time.monotonic()
        for key in listed:
            if key not in self._busy and self._next.get(key, now) <= now:
                self._busy[key] = self._threads.submit(self._work, key)

    def _work(self, key: str) -> None:
        try:
            self._try(key)
        except (StoreError, ValidationError) as error:
            _log.warning("notice_not_settled", key=key, error=str(error))
            self._again(key)

    def _try(self, key: str) -> None:
        try:
            notice = Notice.from_bytes(self._store.get(key))
            webhook = Webhook.from_bytes(self._store.get(layout.webhook(notice.job)))
        except ObjectMissing:
            self._store.delete(key)  # settled by another leader, or its job was deleted
            return
        status, reason = None, None
        try:
            status = self._send(webhook, notice)
        except _Forbidden as error:
            self._settle(key, notice, None, str(error))
            return
        except (httpx.HTTPError, OSError, UnicodeError) as error:
            reason = f"{type(error).__name__}: {error}"[:300]
        if status is not None and 200 <= status < 300:
            self._settle(key, notice, status, None)
        elif status == 410:
            self._settle(key, notice, status, "the receiver says that it is gone (410)")
        elif (utc_now() - notice.at).total_seconds() >= self._settings.give_up_seconds:
            self._settle(key, notice, status, reason or f"the receiver answered {status} to the last")
        else:
            _log.info("webhook_will_be_tried_again", job=notice.job, notice=notice.event, status=status, reason=reason)
            self._again(key)

    def _again(self, key: str) -> None:
        """Full jitter: receivers that come back are not met by everybody at once."""
        self._tries[key] += 1
        first, longest = self._settings.first_delay_seconds, self._settings.longest_delay_seconds
        pause = full_jitter(random.SystemRandom().random, self._tries[key], first=first, longest=longest)
        self._next[key] = time.monotonic() + pause

    def _settle(self, key: str, notice: Notice, status: int | None, reason: str | None) -> None:
        made = Delivery(
            job=notice.job, event=notice.event, sent=reason is None, status=status, reason=reason, at=utc_now()
        )
        # First what became of it, then the notice goes: killed in between, the receiver gets the same id once more.
        self._store.create(layout.delivery(notice.job, notice.event), made.to_bytes())
        self._store.delete(key)
        _log.info("webhook_settled", job=notice.job, notice=notice.event, sent=made.sent, status=status, reason=reason)

    def _send(self, webhook: Webhook, notice: Notice) -> int:
        body, at = json.dumps(notice.body, ensure_ascii=False), utc_now()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "synfarm-webhook/1",
            "webhook-id": notice.id,
            "webhook-timestamp": str(int(at.timestamp())),
        }
        if webhook.secret is not None:
            headers["webhook-signature"] = Signer(webhook.secret).sign(notice.id, at, body)
        url = httpx.URL(webhook.url)
        # The address that was checked is the one that is called: a name may resolve to another one a moment later.
        target = url.copy_with(host=self._allowed(url))
        headers["Host"] = url.netloc.decode()
        extensions = {"sni_hostname": url.host}
        with self._http.stream("POST", target, content=body, headers=headers, extensions=extensions) as answer:
            return answer.status_code

    def _allowed(self, url: httpx.URL) -> str:
        port = url.port or (443 if url.scheme == "https" else 80)
        found = self._resolve(url.host, port)
        if not self._settings.allow_private and (inner := [ip for ip in found if not is_public(ip)]):
            raise _Forbidden(
                f"{url.host} is {inner[0]}, an address inside; SYNFARM_WEBHOOK_ALLOW_PRIVATE=true would allow it"
            )
        return found[0]

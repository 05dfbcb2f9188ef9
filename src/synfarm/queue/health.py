"""HTTP answers of a worker, which has no web framework: health, readiness and metrics, from a thread of their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from synfarm.outages import Outages
from synfarm.storage.protocol import ObjectStore, StoreError
from synfarm.telemetry import get_logger

__all__ = ["HealthServer", "dependencies_away"]

_log = get_logger(__name__)


def dependencies_away(store: ObjectStore, redis: Redis, outages: Outages) -> dict[str, str]:
    """What a worker needs and gets no answer from, by name, in words for anybody; asks each of them now."""
    away: dict[str, str] = {}
    try:
        store.head("probe/ready")
        outages.well("object store")
    except StoreError as error:
        away["object store"] = outages.away("object store", error)
    try:
        redis.ping()
        outages.well("redis")
    except RedisError as error:
        refuses = isinstance(error, AuthenticationError | ResponseError)
        away["redis"] = outages.away("redis", error, refuses=refuses)
    return away


class HealthServer:
    """Answers probes from a thread of its own, so that they are answered while the work computes or hangs."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        health: Callable[[], tuple[bool, Mapping[str, object]]],
        readiness: Callable[[], tuple[bool, Mapping[str, object]]],
        host: str,
        port: int,
    ) -> None:
        """
        Args:
            health: whether the work gets on, and the body of ``/healthz``.
            readiness: whether it could take work now, and the body of ``/readyz``.

        Raises:
            OSError: the port is taken.
        """

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                elif self.path in {"/healthz", "/readyz"}:
                    well, body = (health if self.path == "/healthz" else readiness)()
                    self._answer(200 if well else 503, "application/json", json.dumps(body).encode())
                else:
                    self._answer(404, "text/plain", b"there are /healthz, /readyz and /metrics\n")

            def _answer(self, status: int, content_type: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                _log.debug("http", line=format % args)

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    def start(self) -> None:
        self._thread.start()
        _log.info("health_served", host=self._server.server_address[0], port=self.port)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
